"""A whole OpenStack in one throwaway container, with what a stack on it needs."""
