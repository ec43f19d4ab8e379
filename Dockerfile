# pacsifier with DCMTK, for `docker run` and for the wrapper commands (docker_pacsifier ...). From this folder:
#     docker build --build-arg VERSION=X.Y.Z -t quay.io/translationalml/pacsifier:latest .
# Two build arguments say where the parts come from; nothing else differs between this image and the one that the
# tests build (scripts/test-image).
#   BASE_IMAGE        Debian 12, whose DCMTK is the one that the tests of this project run against; for a release by
#                     its digest (docs/release.md)
#   MICROMAMBA_IMAGE  an image that holds /bin/micromamba

ARG BASE_IMAGE=debian:bookworm-slim
ARG MICROMAMBA_IMAGE=mambaorg/micromamba:2.0.5-debian12-slim

FROM ${MICROMAMBA_IMAGE} AS micromamba

FROM ${BASE_IMAGE} AS environment
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates
COPY --from=micromamba /bin/micromamba /usr/local/bin/micromamba
WORKDIR /build
# Python is that of environment.yml. DCMTK is Debian's, and the Python packages are those of the lock: as tested.
COPY environment.yml scripts/docker/requirements.lock scripts/docker/build.lock ./
RUN sed -nE '/^(name|channels|dependencies):|^  - (conda-forge|nodefaults|python|pip)([=<>].*)?$/p' environment.yml >image.yml \
    && MAMBA_ROOT_PREFIX=/opt/conda micromamba create -y -n pacsifier_minimal -f image.yml \
    && MAMBA_ROOT_PREFIX=/opt/conda micromamba clean -ay \
    && /opt/conda/envs/pacsifier_minimal/bin/python -m pip install --no-cache-dir --no-deps --require-hashes \
        -r requirements.lock
COPY LICENSE NOTICE README.md pyproject.toml setup.cfg setup.py ./
COPY pacsifier pacsifier
# The tools of the build come with their hashes too, into a folder that the image does not get.
RUN /opt/conda/envs/pacsifier_minimal/bin/python -m pip install --no-cache-dir --no-deps --require-hashes \
        --target /build/tools -r build.lock \
    && PYTHONPATH=/build/tools /opt/conda/envs/pacsifier_minimal/bin/python -m pip install --no-cache-dir --no-deps \
        --no-build-isolation .

FROM ${BASE_IMAGE}
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates dcmtk tini \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/apt /var/log/dpkg.log
COPY --from=environment /opt/conda/envs/pacsifier_minimal /opt/conda/envs/pacsifier_minimal
COPY scripts/docker/entrypoint.sh /usr/local/bin/entrypoint.sh
# PATH stands here too, for what skips the entrypoint: `docker exec`, and runtimes of clusters.
ENV CONDA_PREFIX=/opt/conda/envs/pacsifier_minimal \
    CONDA_DEFAULT_ENV=pacsifier_minimal \
    PATH=/opt/conda/envs/pacsifier_minimal/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PACSIFIER_DCMTK_DIR=/usr/bin \
    LANG=C.UTF-8 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONNOUSERSITE=1
# What is in the image, by name and version: as a list, and as a bill of materials (CycloneDX).
COPY scripts/docker/sbom.py /usr/share/pacsifier/sbom.py
ARG VERSION=unknown
RUN cd /usr/share/pacsifier \
    && { dpkg-query -W -f='deb ${Package} ${Version}\n'; \
         python -m pip list --format=freeze --disable-pip-version-check | sed 's/^/pypi /; s/==/ /'; \
         find "$CONDA_PREFIX" -path '*/conda-meta/*.json' -printf 'conda %f\n' | sed 's/\.json$//' | sort; \
       } >packages.txt \
    && python sbom.py pacsifier "$VERSION" <packages.txt >sbom.cdx.json \
    && rm sbom.py

ARG REVISION=unknown
LABEL org.opencontainers.image.title="pacsifier" \
      org.opencontainers.image.description="Gets imaging data out of a hospital PACS in bulk: complete, verified, resumable" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# A run that lives but cannot start another tool (memory, processes, a full disk) is not healthy.
HEALTHCHECK --interval=5m --timeout=60s --retries=2 CMD pacsifier --version && "$PACSIFIER_DCMTK_DIR/findscu" --version
WORKDIR /base
# `-g`: a signal to the container reaches the whole process group, as Ctrl-C does in a shell.
ENTRYPOINT ["tini", "-g", "--", "/usr/local/bin/entrypoint.sh"]
CMD ["pacsifier", "--help"]
