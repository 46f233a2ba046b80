"""What the scenarios and the benchmark share: generated images, a fake upstream, the mirror under test, clients."""
