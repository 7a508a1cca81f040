"""``python -m letterpress.demo.esp``: serve the local ESP where the settings say, until SIGINT or SIGTERM."""

import argparse
import sys


def main(arguments: list[str] | None = None) -> int:
    """Serve; returns 0 after a signal, 3 where a port is taken."""
    from letterpress.demo.esp.app import create_app
    from letterpress.demo.esp.server import PortTaken, listen, read_token, serve
    from letterpress.settings import settings

    parser = argparse.ArgumentParser(prog="python -m letterpress.demo.esp", description="The local ESP")
    parser.add_argument(
        "--public-url",
        help="where recipients reach the ESP, written into links and pixels (default: LETTERPRESS_ESP_URL)",
    )
    options = parser.parse_args(arguments)
    chosen = settings()
    try:
        http = listen(chosen.host, chosen.esp_port, "LETTERPRESS_ESP_PORT")
        smtp = listen(chosen.host, chosen.smtp_port, "LETTERPRESS_SMTP_PORT")
    except PortTaken as problem:
        sys.stderr.write(f"{problem}\n")
        return 3
    app = create_app(
        path=f"{chosen.home}/esp/esp.sqlite",
        token=chosen.esp_token or read_token(chosen.secrets),
        base_url=options.public_url or chosen.esp,
        shop_url=chosen.shop,
    )
    serve(app, http, smtp)
    return 0


if __name__ == "__main__":
    sys.exit(main())
