"""SimGAN, CycleGAN and CUT: networks, losses, and what one update does."""
