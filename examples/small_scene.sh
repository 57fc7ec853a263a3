#!/usr/bin/env bash
# A small scene from rasters to an accuracy report, in a folder of its own. Minutes on two CPU cores.
set -euo pipefail
mkdir -p small-scene && cd small-scene

diffclip-geo simulate --out scene --size 96x96          # or your own rasters and labels
diffclip-geo info scene/scene.hdr scene/lidar.tif --labels scene/labels.shp

diffclip-geo pretrain scene/scene.hdr scene/lidar.tif   # ENVI header or data file, GeoTIFF, VRT …
diffclip-geo fewshot scene/labels.shp --shots 5         # five pixels per class
diffclip-geo classify --out map.tif
diffclip-geo evaluate map.tif scene/truth.tif
