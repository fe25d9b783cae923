# docker build -t gostore .
# docker run --rm --stop-timeout 60 -p 127.0.0.1:7777:7777 -v gostore:/data gostore
#
# Runs as any user id: add --user "$(id -u):$(id -g)" -v "$PWD/data:/data" to keep the blobs in a
# directory of yours. Options of gostore go at the end: ... gostore --put-creates --max-blob-size 1G
# Docker kills what has not stopped in 10 seconds, which is what --shutdown-grace alone gives uploads.
FROM python:3.13-slim

COPY requirements/run.txt /tmp/run.txt
RUN pip install --no-cache-dir --no-compile -r /tmp/run.txt

COPY . /tmp/gostore
# Asking for the help once writes Twisted's list of plugins, which only root can do.
RUN pip install --no-cache-dir --no-deps /tmp/gostore \
    && rm -rf /tmp/gostore /tmp/run.txt \
    && twistd --help > /dev/null \
    && mkdir /data \
    && chmod 1777 /data

USER 65534:65534
WORKDIR /data
VOLUME /data
EXPOSE 7777

HEALTHCHECK CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:7777/healthz', timeout=5)"]

ENTRYPOINT ["twistd", "--nodaemon", "--pidfile=", "gostore", "--dir", "/data"]
CMD ["--listen", "tcp:7777"]
