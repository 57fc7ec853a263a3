import os

from hypothesis import settings

# Before torch is imported: more threads cost tiny networks more than they bring.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# How long an example takes says more about the machine than about the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
