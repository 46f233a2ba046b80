"""A whole OpenStack in one throwaway container, and what a stack there needs."""
