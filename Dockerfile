# syntax=docker/dockerfile:1
# docker build -t harvester .
# docker run --rm -v harvester:/data -e TWELVELABS_API_KEY harvester backfill

ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
RUN python -m venv /opt/harvester
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY migrations migrations
COPY harvester harvester
# Compiled here, since the user of the last stage may not write beside the code.
RUN /opt/harvester/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt . \
    && /opt/harvester/bin/python -m compileall -q /opt/harvester/lib

FROM python:${PYTHON}-slim
RUN useradd --system --uid 10001 --user-group --no-create-home --home-dir /data harvester \
    && install -d -o harvester -g harvester -m 0700 /data
COPY --from=build /opt/harvester /opt/harvester
ENV PATH=/opt/harvester/bin:$PATH \
    HARVESTER_STORE__PATH=/data/harvester.db \
    PYTHONUNBUFFERED=1
USER harvester
WORKDIR /data
VOLUME /data
STOPSIGNAL SIGTERM
# Exec form: signals reach the program itself.
ENTRYPOINT ["harvester"]
CMD ["--help"]
