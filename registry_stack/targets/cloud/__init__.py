"""The cloud target: the stack on any OpenStack, created by Heat from the same template as by hand."""
