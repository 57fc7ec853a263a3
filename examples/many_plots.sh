#!/usr/bin/env bash
# Several scenes of one sensor as one project: one model, one map per scene.
set -euo pipefail
mkdir -p many-plots && cd many-plots

for plot in 1 2 3; do
    diffclip-geo simulate --out "plot$plot" --size 64x64 --pixel-size 5 --seed "$plot"
done
mkdir -p HSI LIDAR
for plot in 1 2 3; do
    mv "plot$plot/scene.tif" "HSI/plot$plot.tif"
    mv "plot$plot/lidar.tif" "LIDAR/plot$plot.tif"
done

diffclip-geo pretrain 'HSI/*.tif' 'LIDAR/*.tif'         # quoted: the program pairs the files by name
diffclip-geo fewshot plot1/labels.shp
diffclip-geo classify --scene HSI/plot2.tif --lidar LIDAR/plot2.tif --out map2.tif
diffclip-geo evaluate map2.tif plot2/truth.tif
