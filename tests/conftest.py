import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: threads cost tiny networks more than they bring
