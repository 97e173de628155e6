# The image of agent and controller: Debian's Python, the locked dependencies, and the project as a wheel.
# Any builder of images will do:  docker build -t registry.example.com/inplaced:0.1.0 .

FROM debian:bookworm-slim AS dependencies
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates python3 python3-venv
COPY .ci/requirements-build.lock .ci/requirements-agent.lock /build/
# Bytecode is made here, as nothing can be written later, and is used whatever times a builder gives to files;
# not of the 60 MB that pods in a cluster never read.
# Docstrings, assertions and columns of tracebacks would be 2.5 MiB of each process.
RUN python3 -m venv /build/tools \
 && /build/tools/bin/pip install --no-cache-dir --no-deps --require-hashes -r /build/requirements-build.lock \
 && python3 -m venv --without-pip /opt/inplaced \
 && /build/tools/bin/pip --python /opt/inplaced install --no-cache-dir --no-compile --no-deps --require-hashes \
    -r /build/requirements-agent.lock \
 && PYTHONOPTIMIZE=2 PYTHONNODEBUGRANGES=1 \
    python3 -m compileall -q --invalidation-mode unchecked-hash -x '/kubernetes/' /opt/inplaced/lib

FROM dependencies AS project
COPY pyproject.toml README.md /build/project/
COPY daemon /build/project/daemon
RUN cd /build/project \
 && /build/tools/bin/hatchling build --target wheel --directory /build/wheel \
 && /build/tools/bin/pip --python /opt/inplaced install --no-cache-dir --no-index --no-deps \
    --no-compile --prefix /build/installed /build/wheel/*.whl \
 && PYTHONOPTIMIZE=2 PYTHONNODEBUGRANGES=1 \
    python3 -m compileall -q --invalidation-mode unchecked-hash /build/installed

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates python3 \
 && find /usr/lib/python3.11 -name '*.pyc' -delete \
 && PYTHONOPTIMIZE=2 PYTHONNODEBUGRANGES=1 \
    python3 -m compileall -q --invalidation-mode unchecked-hash /usr/lib/python3.11 \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*
COPY --from=dependencies /opt/inplaced /opt/inplaced
COPY --from=project /build/installed /opt/inplaced
ENV PATH=/opt/inplaced/bin:/usr/local/bin:/usr/bin:/bin
ENV PYTHONUNBUFFERED=1
ENV PYTHONOPTIMIZE=2
ENV PYTHONNODEBUGRANGES=1
# One heap for all threads, which are few and short-lived, and what is freed goes back to the system.
ENV MALLOC_ARENA_MAX=1
ENV MALLOC_TRIM_THRESHOLD_=131072
LABEL org.opencontainers.image.title="inplaced"
LABEL org.opencontainers.image.description="Changes Kubernetes pods in place"
USER 65532:65532
ENTRYPOINT ["inplaced"]
