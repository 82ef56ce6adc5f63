ARG PYTHON_IMAGE=python:3.11.14-slim
FROM ${PYTHON_IMAGE}

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 DATA_DIR=/data
WORKDIR /okno

# Requirements come first, so that a change of the code reuses this layer. pip checks their hashes.
COPY requirements.txt .
RUN pip install --disable-pip-version-check --require-hashes -r requirements.txt && python -m compileall -q /usr/local/lib/python3.11

RUN useradd --system --uid 1000 --no-create-home okno && install -d -m 0700 -o okno -g okno /data
COPY . .
USER okno
VOLUME /data
EXPOSE 8000

CMD ["python", "-m", "config.serving.server", "--host", "0.0.0.0", "--port", "8000", "--processes", "2"]
