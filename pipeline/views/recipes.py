"""The recipes that methods name. The papers' own for small images; those for 224 pixels add `blur`."""

PLAIN = "plain"
WEAK = "shift(.125)|flip"  # the standard of CIFAR: 4 of 32 pixels
CROP = "crop(.2)|flip"  # arXiv:1906.05849, the authors' code for CMC
SIMCLR = "crop(.08)|flip|jitter(.4)|grey(.2)"  # arXiv:2002.05709, appendix B.9: CIFAR-10, strength .5, no blur
SIMCLR_LARGE = "crop(.08)|flip|jitter(.8)|grey(.2)|blur(.5)"  # the same, appendix A: ImageNet, strength 1
MOCO = "crop(.2)|flip|jitter(.4)|grey(.2)|blur(.5)"  # arXiv:2003.04297
BYOL_1 = "crop(.08)|flip|jitter(.4, .4, .2, .1)|grey(.2)|blur(1)"  # arXiv:2006.07733, table 6: T
BYOL_2 = "crop(.08)|flip|jitter(.4, .4, .2, .1)|grey(.2)|blur(.1)|solarize(.2)"  # the same: T'
STRONG = "shift(.125)|flip|randaugment(2, 9)|cutout(.5)"
FIXMATCH = "shift(.125)|flip|randaugment(2, 9, .5, 1)|cutout(.5)"  # arXiv:2001.07685, RA of the authors' code
