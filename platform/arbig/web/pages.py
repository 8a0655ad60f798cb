"""Web's own pages: the log-in form, the step inside, the API reference. Nothing in them comes from outside."""

from __future__ import annotations

from html import escape
from pathlib import Path
from urllib.parse import quote

import fastapi_offline
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse

DOC_ASSETS = Path(fastapi_offline.__file__).parent / "static"
DOC_ASSETS_URL = "/assets/docs"

LANGUAGES = ("en", "zh")
WORDS = {
    "en": {
        "title": "Log in",
        "token": "Token",
        "where": "The token is the content of data/run/token; `arbig up` also prints a link that logs you in once.",
        "enter": "Log in",
        "wrong": "Wrong token. It is the content of data/run/token.",
        "used": "This link was used already or is older than ten minutes. Paste the token, or ask for a new link.",
        "wait": "Too many wrong log-ins. Try again in {seconds} s.",
        "other": "中文",
    },
    "zh": {
        "title": "登录",
        "token": "令牌",
        "where": "令牌即 data/run/token 文件的内容；`arbig up` 打印的链接也可一次性登录。",
        "enter": "登录",
        "wrong": "令牌错误。令牌即 data/run/token 文件的内容。",
        "used": "此链接已使用过或已超过十分钟。请粘贴令牌，或重新获取链接。",
        "wait": "错误次数过多，请在 {seconds} 秒后再试。",
        "other": "English",
    },
}

STYLE = """
body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: #f3f4f6; color: #1f2937;
       font: 14px/1.5 system-ui, "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif; }
main { width: 340px; padding: 28px 30px; background: #fff; border: 1px solid #dfe3e8; border-radius: 6px; }
h1 { margin: 0 0 18px; font-size: 17px; letter-spacing: .04em; }
h1 b { color: #9a6b16; }
h1 a { float: right; font-size: 12px; font-weight: 400; color: #6b7280; text-decoration: none; }
label { display: block; font-size: 12px; color: #6b7280; }
input { box-sizing: border-box; width: 100%; margin: 4px 0 12px; padding: 8px; border: 1px solid #cbd2d9;
        border-radius: 4px; font: 13px ui-monospace, "DejaVu Sans Mono", monospace; }
button { width: 100%; padding: 8px; border: 0; border-radius: 4px; background: #1f2937; color: #fff; font: inherit; }
p { margin: 12px 0 0; font-size: 12px; color: #6b7280; }
p.wrong { margin: 0 0 12px; color: #b42318; }
"""


def log_in_page(language: str, after: str, problem: str = "", seconds: int = 0, status: int = 200) -> HTMLResponse:
    language = language if language in LANGUAGES else "en"
    words = WORDS[language]
    other = "zh" if language == "en" else "en"
    shown = f'<p class="wrong">{words[problem].format(seconds=seconds)}</p>' if problem else ""
    body = f"""<!doctype html>
<html lang="{language}"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>ARBIG · {words["title"]}</title><link rel="icon" href="data:,"><style>{STYLE}</style>
<main><h1><b>ARBIG</b> {words["title"]}<a href="/login?lang={other}&amp;next={quote(after)}">{words["other"]}</a></h1>
{shown}<form method="post" action="/login?lang={language}&amp;next={quote(after)}">
<label>{words["token"]}<input name="token" type="password" autocomplete="off" autofocus required></label>
<button>{words["enter"]}</button></form><p>{words["where"]}</p></main></html>"""
    headers = {"Retry-After": str(seconds)} if seconds else None
    return HTMLResponse(body, status_code=status, headers=headers)


def step_inside_page(target: str) -> HTMLResponse:
    """Used when the link was clicked on another site: a redirect would count as coming from there, and a strict cookie
    would stay behind; a page of our own sends it."""
    url = escape(target)
    return HTMLResponse(
        f'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url={url}">'
        f'<title>ARBIG</title><link rel="icon" href="data:,"><a href="{url}">ARBIG</a>'
    )


def reference_page(openapi_url: str) -> HTMLResponse:
    """Swagger over the OpenAPI description; its requests carry the header that unsafe methods need."""
    page = get_swagger_ui_html(
        openapi_url=openapi_url,
        title="ARBIG API",
        swagger_js_url=f"{DOC_ASSETS_URL}/swagger-ui-bundle.js",
        swagger_css_url=f"{DOC_ASSETS_URL}/swagger-ui.css",
        swagger_favicon_url="data:,",
    )
    html = bytes(page.body).decode()
    mark = "SwaggerUIBundle({"
    own_header = "requestInterceptor: r => { r.headers['X-Arbig'] = '1'; return r }, validatorUrl: null,"
    return HTMLResponse(html.replace(mark, f"{mark} {own_header}", 1))
