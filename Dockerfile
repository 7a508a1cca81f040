# One image for every Letterpress service: Airflow's parts, the demo shop, the local ESP.
#   docker build --build-arg PYTHON_IMAGE=registry.example/python:3.11-slim --tag letterpress .
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ARG UV_VERSION=0.13.9
ENV UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_NO_CACHE=1 \
    UV_PROJECT_ENVIRONMENT=/opt/venv \
    UV_PYTHON_DOWNLOADS=never
RUN python3 -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir --quiet "uv==${UV_VERSION}"
WORKDIR /app
COPY pyproject.toml uv.lock ./
RUN /opt/uv/bin/uv sync --frozen --no-dev --extra postgres --extra deployment

FROM ${PYTHON_IMAGE}
RUN groupadd --gid 10001 letterpress \
    && useradd --uid 10001 --gid letterpress --no-create-home --home-dir /var/lib/letterpress \
       --shell /usr/sbin/nologin letterpress \
    && install --directory --owner letterpress --group letterpress --mode 0750 /var/lib/letterpress
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY . .
# The file system is read-only when it runs, so bytecode is made now.
RUN /opt/venv/bin/python -m compileall -q dags expectations ml plugins
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app:/app/plugins \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/var/lib/letterpress \
    LETTERPRESS_HOME=/var/lib/letterpress \
    AIRFLOW_HOME=/var/lib/letterpress/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/app/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/app/plugins
USER letterpress
VOLUME /var/lib/letterpress
CMD ["airflow", "version"]
