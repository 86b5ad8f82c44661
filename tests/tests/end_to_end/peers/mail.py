"""A mail server that prints each letter as one line of JSON, and takes none for `refused@`.

mail.py starttls CERTIFICATE KEY PASSWORD   asks for STARTTLS and a password
mail.py implicit CERTIFICATE KEY PASSWORD   the same with TLS from the first byte
mail.py none                                neither
"""

import asyncio
import email
import email.policy
import json
import ssl
import sys
import warnings

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

warnings.simplefilter("ignore")

USER = "postern"


class Letters:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("refused@"):
            return "550 5.1.1 nobody of that name is here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        letter = email.message_from_bytes(envelope.content, policy=email.policy.default)
        print(
            json.dumps(
                {
                    "tls": server.transport.get_extra_info("ssl_object") is not None,
                    "user": session.auth_data,
                    "sender": envelope.mail_from,
                    "to": envelope.rcpt_tos,
                    "headers": {name: str(value) for name, value in letter.items()},
                    "text": letter.get_content(),
                }
            ),
            flush=True,
        )
        return "250 OK"


def known(password):
    def check(server, session, envelope, mechanism, given):
        if not isinstance(given, LoginPassword):
            return AuthResult(success=False, handled=False)
        good = given.login == USER.encode() and given.password == password.encode()
        return AuthResult(success=good, handled=False, auth_data=USER if good else None)

    return check


async def serve(mode, certificate=None, key=None, password=None):
    context = None
    if mode != "none":
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, key)
    options = {}
    if mode == "starttls":
        options = {"tls_context": context, "require_starttls": True}
    if mode != "none":
        options |= {
            "auth_required": True,
            "auth_require_tls": mode == "starttls",
            "authenticator": known(password),
        }
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(Letters(), **options),
        "127.0.0.1",
        0,
        ssl=context if mode == "implicit" else None,
    )
    print("listening on", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(serve(*sys.argv[1:]))
