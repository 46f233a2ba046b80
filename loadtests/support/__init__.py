"""What the scenarios share: images, their upstream, the mirror under test, its clients, and the verdict."""
