FROM python:3.13-slim AS build
WORKDIR /src
RUN python -m venv /opt/sharechat
# The dependencies first: their layer stays in the cache for as long as the lock does.
COPY requirements/runtime.txt requirements/
RUN /opt/sharechat/bin/pip install --no-cache-dir --require-hashes -r requirements/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY sharechat sharechat
RUN /opt/sharechat/bin/pip install --no-cache-dir --no-deps .

# The last stage holds Python and the installed program: no compiler, no sources, no root.
FROM python:3.13-slim
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin sharechat \
    && install -d -o 10001 -m 700 /data
COPY --from=build /opt/sharechat /opt/sharechat
ENV PATH=/opt/sharechat/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    SHARECHAT_HOST=0.0.0.0 \
    XDG_DATA_HOME=/data
# The rooms, unless DATABASE_URL names a database.
VOLUME /data
USER 10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/livez', timeout=2)"]
ENTRYPOINT ["sharechat"]
CMD ["serve"]
