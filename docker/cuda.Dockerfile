# docker build -f docker/cuda.Dockerfile -t diffclip-geo:cuda .
# docker run --rm --gpus all -v "$PWD:/data" diffclip-geo:cuda pretrain scene.tif lidar.tif
FROM python:3.12-slim
COPY . /src
# The default build of torch brings its own CUDA libraries; the host needs a driver and the NVIDIA container toolkit.
RUN pip install --no-cache-dir /src && rm -r /src
WORKDIR /data
ENTRYPOINT ["diffclip-geo"]
