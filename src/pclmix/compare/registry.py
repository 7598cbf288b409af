"""The methods by name."""

from pclmix.compare.base import Method
from pclmix.compare.cyclemix import CycleMix
from pclmix.compare.dmpls import DMPLS
from pclmix.compare.em import EntropyMinimisation
from pclmix.compare.full import FullSupervision
from pclmix.compare.gated_crf import GatedCRF
from pclmix.compare.mumford_shah import MumfordShah
from pclmix.compare.nnunet_pl import PartialLoss
from pclmix.compare.pce import PartialCrossEntropy
from pclmix.compare.random_walker import RandomWalker
from pclmix.compare.s2l import Scribble2Label
from pclmix.compare.sc_net import SCNet
from pclmix.compare.trimix import TriMix
from pclmix.compare.ustm import USTM
from pclmix.config import nearest
from pclmix.errors import InputError
from pclmix.method.pclmix import PCLMix

METHODS: dict[str, type[Method]] = {
    "pclmix": PCLMix,
    "pce": PartialCrossEntropy,
    "em": EntropyMinimisation,
    "mumford_shah": MumfordShah,
    "random_walker": RandomWalker,
    "gated_crf": GatedCRF,
    "ustm": USTM,
    "s2l": Scribble2Label,
    "dmpls": DMPLS,
    "trimix": TriMix,
    "cyclemix": CycleMix,
    "sc_net": SCNet,
    "full": FullSupervision,
    "nnunet_pl": PartialLoss,
}


def get_method(name: str) -> type[Method]:
    """The method of that name. Raises `InputError` naming the nearest one."""
    if name not in METHODS:
        raise InputError(f"method {name}: unknown, {nearest(name, METHODS)}")
    return METHODS[name]
