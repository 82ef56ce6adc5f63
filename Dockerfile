# syntax=docker/dockerfile:1
# PYTHON_IMAGE can carry a digest: docs/install.md, "Pin the images".
ARG PYTHON_IMAGE=python:3.11.14-slim-trixie

# --- packages and static files, in a stage that the image does not contain ---------------------------------
FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1
WORKDIR /okno

# Requirements come first, so that a change of the code reuses this layer. pip checks their hashes, and wheels only
# means that no code of a package runs and no compiler is needed.
COPY requirements.txt .
COPY config/storage/requirements.txt config/storage/requirements.txt
COPY config/monitoring/requirements.txt config/monitoring/requirements.txt
RUN python -m venv /opt/venv && /opt/venv/bin/pip install --require-hashes --only-binary :all: \
        -r requirements.txt -r config/storage/requirements.txt -r config/monitoring/requirements.txt \
    && /opt/venv/bin/python -m compileall -q /opt/venv
COPY . .
RUN STATIC_ROOT=/static /opt/venv/bin/python manage.py collectstatic --noinput --verbosity 0

# --- the image ----------------------------------------------------------------------------------------------
FROM ${PYTHON_IMAGE}
# pg_dump and pg_restore for backups must not be older than the server, so they come from PostgreSQL's own archive.
ARG POSTGRES_CLIENT=18
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates postgresql-common \
    && /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y \
    && apt-get install --yes --no-install-recommends postgresql-client-${POSTGRES_CLIENT} \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --system --uid 1000 --no-create-home okno && install -d -m 0700 -o okno -g okno /data /backups

ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 DATA_DIR=/data STATIC_ROOT=/static
WORKDIR /okno
COPY --from=build /opt/venv /opt/venv
COPY --from=build /static /static
COPY . .
RUN python -m compileall -q .

ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Okno" \
      org.opencontainers.image.description="Portal between a helpdesk and WhatsApp Business" \
      org.opencontainers.image.licenses="BSD-3-Clause" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

USER okno
VOLUME /data
EXPOSE 8000
# For the web process. docker-compose.yml has a check for each of the other services.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/live', timeout=3)"]
CMD ["python", "-m", "config.serving.server", "--host", "0.0.0.0", "--port", "8000", "--processes", "2"]
