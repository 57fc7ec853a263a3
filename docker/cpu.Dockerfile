# docker build -f docker/cpu.Dockerfile -t diffclip-geo .
# docker run --rm -v "$PWD:/data" diffclip-geo pretrain scene.tif lidar.tif
FROM python:3.12-slim
COPY . /src
# The CPU build of torch is a tenth of the size of the default one.
RUN pip install --no-cache-dir torch torchvision --index-url https://download.pytorch.org/whl/cpu \
    && pip install --no-cache-dir /src \
    && rm -r /src
WORKDIR /data
ENTRYPOINT ["diffclip-geo"]
