# docker build -f docker/cpu.Dockerfile -t diffclip-geo .
# docker run --rm -v "$PWD:/data" diffclip-geo pretrain scene.tif lidar.tif
FROM python:3.12-slim
COPY . /src
RUN pip install --no-cache-dir /src && rm -r /src
WORKDIR /data
ENTRYPOINT ["diffclip-geo"]
