"""The cloud target: the stack on any OpenStack, created by Heat from the very template that is used by hand."""
