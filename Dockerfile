# docker build -t gostore .
# docker run --rm --stop-timeout 60 -p 127.0.0.1:7777:7777 -v gostore:/data gostore
#
# Runs as any user id: add --user "$(id -u):$(id -g)" -v "$PWD/data:/data" to keep the blobs in a
# directory of yours. Options of gostore go at the end: ... gostore --put-creates --max-blob-size 1G
# Docker kills a container that has not stopped in 10 seconds, and --shutdown-grace alone gives uploads
# as many.
#
# To build on one certain image, whatever the tag means by then:
# docker build --build-arg BASE=python:3.13-slim@sha256:... -t gostore .
ARG BASE=python:3.13-slim
FROM ${BASE}

COPY requirements/image.txt /tmp/image.txt
RUN pip install --no-cache-dir --no-compile --require-hashes -r /tmp/image.txt

COPY . /tmp/gostore
# twistd --help writes Twisted's cache of plugins, which only root can do.
RUN pip install --no-cache-dir --no-deps /tmp/gostore \
    && rm -rf /tmp/gostore /tmp/image.txt \
    && twistd --help > /dev/null \
    && mkdir /data \
    && chmod 1777 /data

USER 65534:65534
WORKDIR /data
VOLUME /data
EXPOSE 7777

# It asks on every address that --listen names.
HEALTHCHECK CMD ["python", "/usr/local/share/gostore/examples/healthcheck.py"]

ENTRYPOINT ["twistd", "--nodaemon", "--pidfile=", "gostore", "--dir", "/data"]
CMD ["--listen", "tcp:7777"]
