# The sidecar's image: Python, what requirements-image.lock names by hash, and authz. docs/image.md tells more.
# Pin Python by naming it with its digest:
#   make image ARGS='--build-arg PYTHON_IMAGE=docker.io/library/python:3.11-slim-bookworm@sha256:...'
ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY requirements-build.lock requirements-image.lock ./
# An environment without pip, filled from outside. Only wheels: nothing that is fetched runs code of its own here.
RUN python -m venv --without-pip /opt/authz \
    && python -m pip --python /opt/authz/bin/python install --quiet --no-compile \
        --require-hashes --no-deps --only-binary=:all: -r requirements-image.lock \
    && python -m pip install --quiet --require-hashes --no-deps --only-binary=:all: -r requirements-build.lock
COPY pyproject.toml README.md LICENSE ./
COPY authz authz
RUN python -m pip wheel --quiet --no-build-isolation --no-deps --wheel-dir wheels . \
    && python -m pip --python /opt/authz/bin/python install --quiet --no-compile --no-deps --no-index wheels/*.whl
# Nobody writes bytecode later, since the root is read-only. Nor are sources compared with it: they never change.
RUN python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/authz/lib

FROM ${PYTHON_IMAGE}
# Python's image has no bytecode of the standard library; and pip, setuptools and windows, which nobody needs here.
# No program keeps the right to become somebody else.
RUN cd /usr/local/lib/python3* \
    && rm -rf site-packages/* ensurepip idlelib lib2to3 tkinter turtledemo ../../bin/pip* ../../bin/idle* \
    && python -m compileall -q -f -j 0 --invalidation-mode unchecked-hash "$PWD" \
    && echo 'authz:x:65532:65532:authz:/nonexistent:/usr/sbin/nologin' >> /etc/passwd \
    && echo 'authz:x:65532:' >> /etc/group \
    && install -d -m 0755 /etc/authz /etc/authz/policies \
    && install -d -m 0750 -o 65532 -g 65532 /run/authz \
    && install -d -m 0700 -o 65532 -g 65532 /var/lib/authz \
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} +
COPY --from=build /opt/authz /opt/authz
ENV PATH=/opt/authz/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONNOUSERSITE=1 \
    PYTHONSAFEPATH=1
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="authz" \
    org.opencontainers.image.description="The authorization sidecar for Envoy" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
# A settings file here, /etc/authz/authz.toml, is found without being named.
WORKDIR /etc/authz
USER 65532:65532
EXPOSE 9192
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 CMD ["authz", "health"]
ENTRYPOINT ["authz"]
CMD ["serve", "--policies", "/etc/authz/policies"]
