"""aiosmtpd's own Mailbox, but for recipients and messages that a test says it refuses.

The file `refused` beside the Maildir holds a line for each: `address<TAB>reply`, or `data:address<TAB>reply` for a
message to that address. Every recipient that is tried is written into the file `tried`.
"""

import os

from aiosmtpd.handlers import Mailbox


class Choosy(Mailbox):
    def beside(self, name):
        return os.path.join(os.path.dirname(self.mail_dir), name)

    def reply_to(self, what):
        try:
            with open(self.beside("refused")) as lines:
                return dict(line.rstrip("\n").split("\t", 1) for line in lines).get(what)
        except FileNotFoundError:
            return None

    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        with open(self.beside("tried"), "a") as tried:
            tried.write(address + "\n")
        refusal = self.reply_to(address)
        if refusal:
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        for address in envelope.rcpt_tos:
            refusal = self.reply_to("data:" + address)
            if refusal:
                return refusal
        return await super().handle_DATA(server, session, envelope)
