"""Runs in VBench's own environment, as a program: python vbench_driver.py task.json. Needs nothing of Motive.

task.json: videos (a folder), prompts (by file name), dimensions, device, output (a folder), name. VBench writes
<output>/<name>_eval_results.json.
"""

import json
import sys
from pathlib import Path


def main(task_file: str) -> None:
    import torch
    import vbench

    task = json.loads(Path(task_file).read_text(encoding="utf-8"))
    prompts_of_vbench = Path(vbench.__file__).parent / "VBench_full_info.json"
    judge = vbench.VBench(torch.device(task["device"]), str(prompts_of_vbench), task["output"])
    judge.evaluate(
        videos_path=task["videos"],
        name=task["name"],
        prompt_list=task["prompts"],
        dimension_list=task["dimensions"],
        mode="custom_input",
        imaging_quality_preprocessing_mode="longer",
    )


if __name__ == "__main__":
    main(sys.argv[1])
