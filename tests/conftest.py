import os

# Before torch is imported: more threads cost tiny networks more than they bring.
os.environ.setdefault("OMP_NUM_THREADS", "1")
