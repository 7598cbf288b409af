"""PCLMix keeps what every method keeps; its equations are tested in tests/method."""

from compare.contract import MethodContract


class TestPCLMix(MethodContract):
    name = "pclmix"
