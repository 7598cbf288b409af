"""What a job scores besides the default: the network's word alone."""

from pclmix.config import Plan
from pclmix.experiment.job import PLAIN
from pclmix.network.copies import passes


def test_plain_predictions_are_neither_averaged_nor_post_processed():
    plan = Plan(
        channels=("mr",),
        classes={"background": 0, "a": 1},
        spacing=(1, 1),
        crop=(32, 32),
        batch=2,
        intensity=("zscore",),
        mirror=True,
        turn=20,
        largest_component=((1,),),
    )
    assert passes(plan.mirror, plan.turn) == 6
    plain = PLAIN.applied(plan)
    assert passes(plain.mirror, plain.turn) == 1 and plain.largest_component == ()
