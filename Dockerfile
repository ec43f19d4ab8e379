# NOT FINISHED. This image runs `pacsifier` and `pacsifier-demo-pacs` with Debian's Python and DCMTK:
#     docker build -t pacsifier .
#     docker run --rm --net=host --user "$(id -u):$(id -g)" -v "$PWD:/base" pacsifier \
#         pacsifier --save --config config.json --queryfile query.csv --out_directory images
# Missing, and to come: the conda environment `pacsifier_minimal` that the documentation names, the wrapper commands
# (docker_pacsifier and others), pinned versions, labels, and tests of the image.

ARG BASE_IMAGE=debian:bookworm-slim
FROM ${BASE_IMAGE}

RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        ca-certificates dcmtk python3 python3-venv tini \
    && rm -rf /var/lib/apt/lists/*

COPY . /usr/local/src/pacsifier
RUN python3 -m venv /opt/pacsifier \
    && /opt/pacsifier/bin/pip install --no-cache-dir /usr/local/src/pacsifier \
    && rm -rf /usr/local/src/pacsifier

# `-g`: a signal to the container reaches the whole process group, as Ctrl-C does in a shell.
ENV PATH=/opt/pacsifier/bin:$PATH LANG=C.UTF-8 PYTHONUNBUFFERED=1
WORKDIR /base
ENTRYPOINT ["tini", "-g", "--"]
CMD ["pacsifier", "--help"]
