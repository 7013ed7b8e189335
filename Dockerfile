# syntax=docker/dockerfile:1
# docker build -t harvester --build-arg REVISION="$(git rev-parse HEAD)" .     the revision is optional, and a label
# docker run -v harvester:/data -e TWELVELABS_API_KEY harvester            the daemon
# docker run --rm -v harvester:/data -e TWELVELABS_API_KEY harvester backfill
# With the key in a file, as Compose and Kubernetes give secrets: -e HARVESTER_API__KEY_FILE=/run/secrets/twelvelabs_api_key

ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PIP_NO_COMPILE=1
# The environment that is copied has no pip: the pip of this stage installs into it.
RUN python -m venv --without-pip /opt/harvester \
    && python -m venv /opt/build
WORKDIR /src
# Dependencies have a layer of their own, so a change of this program's code does not install them again.
# They are compiled here, because the user of the last stage may not write beside the code, and without the time of the
# source: layers round times, and every start would compile everything anew.
COPY pyproject.toml constraints.txt ./
RUN python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb')); \
print(*p['project']['dependencies'], sep='\n', file=open('/tmp/run.txt', 'w')); \
print(*p['build-system']['requires'], sep='\n', file=open('/tmp/build.txt', 'w'))" \
    && /opt/build/bin/pip install -r /tmp/build.txt \
    && /opt/build/bin/pip --python /opt/harvester/bin/python install --only-binary :all: -c constraints.txt -r /tmp/run.txt \
    && /opt/harvester/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/harvester/lib
COPY README.md LICENSE ./
COPY docs/harvester.1 docs/harvester.1
COPY migrations migrations
COPY harvester harvester
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /tmp/wheel . \
    && /opt/build/bin/pip --python /opt/harvester/bin/python install --no-deps /tmp/wheel/*.whl \
    && /opt/harvester/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/harvester/lib/python*/site-packages/harvester

FROM python:${PYTHON}-slim
RUN groupadd --gid 10001 harvester \
    && useradd --uid 10001 --gid harvester --no-create-home --home-dir /data --shell /usr/sbin/nologin harvester \
    && install -d -o harvester -g harvester -m 0700 /data
COPY --from=build /opt/harvester /opt/harvester
ENV PATH=/opt/harvester/bin:$PATH \
    HARVESTER_STORE__PATH=/data/harvester.db \
    PYTHONUNBUFFERED=1
# That of harvester/_version.py; a test compares both.
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="harvester" \
      org.opencontainers.image.description="Fetches the embeddings that TwelveLabs computes." \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# A number, by which Kubernetes can check that this is not root.
USER 10001:10001
WORKDIR /data
VOLUME /data
STOPSIGNAL SIGTERM
# For the daemon only: other commands serve no pages, so start them with --no-healthcheck.
HEALTHCHECK --interval=30s --timeout=10s --start-period=20s --retries=3 CMD ["harvester", "doctor", "--live"]
# Exec form: signals reach the program itself.
ENTRYPOINT ["harvester"]
CMD ["run"]
