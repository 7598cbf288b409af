"""What a job scores besides the default: the network's word alone; a job that makes a data set of its own."""

from experiment.conftest import Experiment

from pclmix.config import Plan
from pclmix.experiment.job import PLAIN_OPTIONS, run_job
from pclmix.experiment.plan import place_orders, plan_experiment
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
    plain = PLAIN_OPTIONS.applied(plan)
    assert passes(plain.mirror, plain.turn) == 1 and plain.largest_component == ()


def test_a_job_of_annotation_effort_replaces_the_data_set_of_an_earlier_try(unpacked, tmp_path):
    """As an older version left it: labels in .nii.gz beside images in .nii."""
    study = Experiment(tmp_path / "study", unpacked)
    plan = plan_experiment(study.write(settings="[effort]\nslices = [0.5]\n"))
    place_orders(plan)
    order = next(order for order in plan.orders if order.part == "effort")
    folder = study.results / "jobs" / order.job
    old = folder / "dataset" / "labelsTr" / f"{order.train_cases[0]}.nii.gz"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"old")
    assert set(run_job(folder)["patients"]) == set(order.test_cases)
    assert not old.exists()
