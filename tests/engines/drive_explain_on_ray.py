"""Explain a folder on Ray: drive_explain_on_ray.py FOLDER ROWS_PER_PART DEADLY TIMES.

The first two values of each picture are its number. DEADLY is the one that ends whoever explains
it, so many TIMES.
"""

import os
import signal
import sys
import time
from pathlib import Path

from eli5k.keras.engines.on_ray import explain_on_ray

if __name__ == "__main__":
    place = Path(sys.argv[1])
    rows_per_part, deadly, times = map(int, sys.argv[2:])

    def scaled(pixels):
        """Note which picture came, and who was at work."""
        number = int(pixels.flat[0]) * 256 + int(pixels.flat[1])
        with (place / "tried" / str(os.getpid())).open("a") as file:
            file.write(f"{number}\n")
        if number == deadly and len(list(place.glob("death-*"))) < times:
            (place / f"death-{os.getpid()}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        # Else all is done before anybody can be killed.
        time.sleep(0.002)
        return pixels / 127.5 - 1

    counts = explain_on_ray(
        place / "model.keras",
        place / "pictures",
        place / "out",
        workers=2,
        targets=[2, 0],
        preprocess=scaled,
        rows_per_part=rows_per_part,
        progress=False,
    )
    print(counts)
