import os

# Before numpy is imported: several test processes share few cores, and its threads wait for each other by spinning.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
