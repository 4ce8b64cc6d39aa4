"""The recipes that methods name. The papers' own for small images; those for 224 pixels add `blur`."""

PLAIN = "plain"
WEAK = "shift(.125)|flip"  # the standard of CIFAR: 4 of 32 pixels
CROP = "crop(.2)|flip"  # arXiv:1906.05849, the authors' code for CMC
CPC = "crop(.3)|flip|grey(.25)"  # of a whole image; arXiv:1905.09272 changes its patches besides
INCEPTION = "crop(.08)|flip"  # arXiv:1807.05520, the authors' code for DeepCluster
SIMCLR = "crop(.08)|flip|jitter(.4)|grey(.2)"  # arXiv:2002.05709, appendix B.9: CIFAR-10, strength .5, no blur
SIMCLR_LARGE = "crop(.08)|flip|jitter(.8)|grey(.2)|blur(.5)"  # the same, appendix A: ImageNet, strength 1
INSTDISC = "crop(.2)|grey(.2)|jitter(.4, .4, .4, .4, 1)|flip"  # arXiv:1805.01978, the authors' code; MoCo's too
PIRL_IMAGE = "crop(.08)|jitter(.4, .4, .4, .2, 1)|grey(.2)|flip"  # arXiv:1912.01991, the configuration in VISSL
PIRL_MOVED = "crop(.6)|jitter(.4, .4, .4, .2, 1)|grey(.2)|flip"  # the same: what is cut into tiles, or turned
JIGSAW = "crop(.77, .77, 1, 1)|grey(.3)"  # arXiv:1603.09246, section 3: 225 of 256 pixels, 30 % of the images grey
JIGSAW_PP = "crop(.77, .77, 1, 1)|grey(.7)"  # arXiv:1805.00385, section 4: 70 % grey, so that colours do not tell
PAIRS = "crop(.33)"  # arXiv:1505.05192, section 3: the scale of an image within a factor of 3 of its area
MOCO = "crop(.2)|flip|jitter(.4)|grey(.2)|blur(.5)"  # arXiv:2003.04297
BYOL_1 = "crop(.08)|flip|jitter(.4, .4, .2, .1)|grey(.2)|blur(1)"  # arXiv:2006.07733, table 6: T
BYOL_2 = "crop(.08)|flip|jitter(.4, .4, .2, .1)|grey(.2)|blur(.1)|solarize(.2)"  # the same: T'
MOCO_V3_1 = "crop(.2)|flip|jitter(.4, .4, .2, .1)|grey(.2)|blur(1)"  # arXiv:2104.02057, the authors' code: ResNet-50
MOCO_V3_2 = "crop(.2)|flip|jitter(.4, .4, .2, .1)|grey(.2)|blur(.1)|solarize(.2)"  # the same, the second view
MULTI_LARGE = "crop(.14)|flip|jitter(.8)|grey(.2)|blur(.5)"  # arXiv:2006.09882, the authors' code: 2 of 224 pixels
MULTI_SMALL = "crop(.05, .14, size=.5)|flip|jitter(.8)|grey(.2)|blur(.5)"  # the same: 6 of 96 pixels
MULTI_1 = "crop(.4)|flip|jitter(.4, .4, .2, .1)|grey(.2)|blur(1)"  # arXiv:2104.14294, the authors' code: global
MULTI_2 = "crop(.4)|flip|jitter(.4, .4, .2, .1)|grey(.2)|blur(.1)|solarize(.2)"  # the same: the other global one
MULTI_LOCAL = "crop(.05, .4, size=.5)|flip|jitter(.4, .4, .2, .1)|grey(.2)|blur(.5)"  # the same: local
DVAE = "crop(.44, .79)|flip"  # arXiv:2102.12092, listing 1: 2/3 to 8/9 of the side
BEIT = "crop(.08)|jitter(.4, .4, .4, 0, 1)|flip"  # arXiv:2106.08254, the authors' code
MAE = "crop(.2)|flip"  # arXiv:2111.06377, appendix A.1
STRONG = "shift(.125)|flip|randaugment(2, 9)|cutout(.5)"
FIXMATCH = "shift(.125)|flip|randaugment(2, 9, .5, 1)|cutout(.5)"  # arXiv:2001.07685, RA of the authors' code
DEIT = "crop(.08)|flip|randaugment(2, 9, .5)|erase(.25)"  # arXiv:2012.12877, the authors' code, where 9 varies by .5
