"""``Idempotency-Key``: a POST that is sent again is answered again, and done once.

The answer is stored in the transaction that did the work, so that a process killed in between
leaves neither. It is encrypted under the caller's own key: it may hold a token.
"""

import base64
import hashlib
import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from cryptography.fernet import Fernet
from django.db import IntegrityError, transaction
from django.utils import timezone
from rest_framework.exceptions import ValidationError
from rest_framework.utils.encoders import JSONEncoder

from exhookadmin.api.models import ApiKey, RememberedAnswer
from exhookadmin.api.problems import Unprocessable

HEADER = "Idempotency-Key"
LONGEST = 255
KEPT_FOR = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered: status and body."""

    status: int
    body: Any


@dataclass(frozen=True, slots=True)
class Once:
    """One call that is to be done once."""

    key: ApiKey
    secret: str
    name: str
    request: str

    def earlier_answer(self) -> Answer | None:
        """The answer of the first such call; None when this is the first, which is now noted.

        Waits for a first one that is still being worked on. To be called in a transaction.
        Raises Unprocessable when the same key came with another request.
        """
        RememberedAnswer.objects.filter(created_at__lt=timezone.now() - KEPT_FOR).delete()
        try:
            with transaction.atomic():
                RememberedAnswer.objects.create(key=self.key, idempotency_key=self.name, request=self.request)
        except IntegrityError:
            found = RememberedAnswer.objects.get(key=self.key, idempotency_key=self.name)
        else:
            return None
        if found.request != self.request:
            raise Unprocessable(f"This {HEADER} was used for another request: choose a new one.")
        return Answer(**json.loads(_cipher(self.secret).decrypt(bytes(found.answer or b""))))

    def remember(self, answer: Answer) -> None:
        """Stores the answer, for the calls that repeat this one."""
        text = json.dumps({"status": answer.status, "body": answer.body}, cls=JSONEncoder)
        RememberedAnswer.objects.filter(key=self.key, idempotency_key=self.name).update(
            answer=_cipher(self.secret).encrypt(text.encode())
        )


def once(key: ApiKey, secret: str, name: str, method: str, path: str, body: bytes) -> Once:
    """The call by what tells it apart from others. Raises ValidationError for an unusable name."""
    if len(name) > LONGEST:
        raise ValidationError({HEADER: [f"At most {LONGEST} characters."]})
    request = hashlib.sha256(b"\n".join((method.encode(), path.encode(), body))).hexdigest()
    return Once(key, secret, hashlib.sha256(name.encode()).hexdigest(), request)


def _cipher(secret: str) -> Fernet:
    digest = hashlib.sha256(b"exhookadmin.api.idempotency\n" + secret.encode()).digest()
    return Fernet(base64.urlsafe_b64encode(digest))
