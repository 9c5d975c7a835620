# A model behind HTTP: the server, its page, and nothing of the pipeline.
#
#   docker build -t sightline .
#   docker run -p 127.0.0.1:8000:8000 -e SIGHTLINE_API_KEY=... -v "$PWD/models/bundle:/bundle:ro" sightline
FROM python:3.12-slim AS base
WORKDIR /source
COPY requirements.lock ./
# The locked versions, but only those that an image needs: the lock constrains, the install chooses.
RUN python -m venv /venv \
 && sed -E 's/ *\\$//; /^ *--hash/d' requirements.lock > constraints.txt

# What compose.yaml keeps runs with: the MLflow that the pipeline is tested with.
FROM base AS mlflow
RUN /venv/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt mlflow \
 && useradd --uid 10001 --create-home --home-dir /mlflow --shell /usr/sbin/nologin mlflow
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
USER 10001:10001
WORKDIR /mlflow
EXPOSE 5000
CMD ["mlflow", "server", "--host", "0.0.0.0", "--port", "5000", "--workers", "1", \
     "--backend-store-uri", "sqlite:////mlflow/mlflow.db", "--artifacts-destination", "/mlflow/artifacts"]

FROM base AS build
# All that the wheel holds besides the package: a build without one of them ends.
COPY pyproject.toml README.md LICENSE dvc.yaml .gitignore .dvcignore .gitattributes ./
COPY conf ./conf
COPY pipeline ./pipeline
COPY src ./src
RUN /venv/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt '.[serve]'

FROM python:3.12-slim AS server
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1
# Numbers, not names: Kubernetes checks `runAsNonRoot` by them.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin sightline
USER 10001:10001
WORKDIR /tmp
VOLUME /bundle
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health', timeout=2)"]
STOPSIGNAL SIGTERM
# Outside of a container this is every address: it takes SIGHTLINE_API_KEY, and does not start without.
ENTRYPOINT ["sightline", "serve"]
CMD ["/bundle", "--host", "0.0.0.0", "--port", "8000"]
