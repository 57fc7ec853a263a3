#!/usr/bin/env bash
# A dask scheduler and two workers on this machine map a scene together; the map is the one that a single process makes.
set -euo pipefail
mkdir -p local-cluster && cd local-cluster

diffclip-geo simulate --out scene --size 128x128        # or your own rasters and labels
diffclip-geo pretrain scene/scene.tif scene/lidar.tif
diffclip-geo fewshot scene/labels.shp

dask scheduler --host 127.0.0.1 --port 8786 --no-dashboard &
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
dask worker tcp://127.0.0.1:8786 --nworkers 2 --nthreads 1 --no-dashboard &

diffclip-geo classify --engine exact --scheduler tcp://127.0.0.1:8786 --out cluster.tif
diffclip-geo classify --engine exact --out alone.tif
cmp cluster.tif alone.tif && echo "The maps are the same, byte for byte."
