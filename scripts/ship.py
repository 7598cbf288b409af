"""Put a finished run among the models that come with the package: `python scripts/ship.py RUN NAME --calibrated RUN`.

The shipped model is trained on all patients, so nobody is left to calibrate its expected Dice on; it takes the lines
of a run of the same recipe that was validated on patients it had not seen. Convolutions are kept in half precision, as
that makes the file half as large; they are fp32 again once loaded. Its card, src/pclmix/shipped/NAME.md, is written by
hand.
"""

import argparse
import sys
from pathlib import Path

from pclmix.errors import InputError
from pclmix.model_file import load_model, save_model
from pclmix.shipped import FOLDER


def main() -> None:
    """Read both runs, write one file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="run folder of the model to ship")
    parser.add_argument("name", help="what predict will know it by")
    parser.add_argument("--calibrated", type=Path, required=True, help="run folder of the same recipe, validated")
    given = parser.parse_args()
    (net, plan), (_, validated) = load_model(given.run), load_model(given.calibrated)
    for name in ("classes", "network", "depth", "mirror", "turn"):  # probabilities depend on all of them
        if getattr(validated, name) != getattr(plan, name):
            raise InputError(f"{given.calibrated}: another {name} than in {given.run}, expected the same")
    if not validated.doubt:
        raise InputError(f"{given.calibrated}: nothing was calibrated, expected validation cases with dense labels")
    for weight in net.parameters():
        if weight.dim() > 1:
            weight.data = weight.data.half()
    save_model(FOLDER / f"{given.name}.safetensors", net, plan.model_copy(update={"doubt": validated.doubt}))


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
