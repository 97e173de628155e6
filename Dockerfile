# The image of agent and controller: Debian's Python, the locked dependencies, and the project as a wheel.
# Any builder of images will do:  docker build -t registry.example.com/inplaced:0.1.0 .

FROM debian:bookworm-slim AS dependencies
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates python3 python3-venv
COPY .ci/requirements-build.lock .ci/requirements-agent.lock /build/
# Bytecode is made here, as nothing can be written later; not of the 60 MB that pods in a cluster never read.
RUN python3 -m venv /build/tools \
 && /build/tools/bin/pip install --no-cache-dir --no-deps --require-hashes -r /build/requirements-build.lock \
 && python3 -m venv --without-pip /opt/inplaced \
 && /build/tools/bin/pip --python /opt/inplaced install --no-cache-dir --no-compile --no-deps --require-hashes \
    -r /build/requirements-agent.lock \
 && python3 -m compileall -q -x '/kubernetes/' /opt/inplaced/lib

FROM dependencies AS project
COPY pyproject.toml README.md /build/project/
COPY daemon /build/project/daemon
RUN cd /build/project \
 && /build/tools/bin/hatchling build --target wheel --directory /build/wheel \
 && /build/tools/bin/pip --python /opt/inplaced install --no-cache-dir --no-index --no-deps \
    --prefix /build/installed /build/wheel/*.whl

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates python3 \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*
COPY --from=dependencies /opt/inplaced /opt/inplaced
COPY --from=project /build/installed /opt/inplaced
ENV PATH=/opt/inplaced/bin:/usr/local/bin:/usr/bin:/bin
ENV PYTHONUNBUFFERED=1
LABEL org.opencontainers.image.title="inplaced"
LABEL org.opencontainers.image.description="Changes Kubernetes pods in place"
USER 65532:65532
ENTRYPOINT ["inplaced"]
