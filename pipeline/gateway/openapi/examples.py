"""An example of every body and answer, by the name of its schema."""

from typing import Any

_AT, _LATER = "2026-11-22T10:00:00.000Z", "2026-11-22T10:00:04.210Z"
_ID, _REQUEST, _NUMBER = "69218a60e4a9a0e69811ad7f", "order-7-shipped", "+393331234567"
_OPTIONS = {
    "dryRun": False, "failOnMultipleMessages": False, "transliterate": False, "validitySeconds": 172800,
    "tariff": "WW", "otp": False,
}  # fmt: skip
_CALLBACK = {"url": "https://client.example/told", "method": "JSON", "field": "data", "retry": 3, "headers": {},
             "custom": {"order": 7}}  # fmt: skip
_MESSAGE: dict[str, Any] = {
    "id": _ID, "requestId": _REQUEST, "username": "acme", "state": "NEW", "detailedState": "ACCEPTED",
    "sender": "MyCompany", "recipient": _NUMBER, "internationalPrefix": "39", "countryCode": "IT",
    "message": "Hello! This is a test message.", "encoding": "GSM-7", "charactersCount": 30, "messageCount": 1,
    "price": 0, "totalPrice": 0, "currency": "EUR", "blocklisted": False, "error": None, "carrier": None,
    "carrierReference": None, "options": _OPTIONS, "callback": _CALLBACK, "custom": {"order": 7}, "createdAt": _AT,
    "updatedAt": _AT, "sentAt": None, "deliveredAt": None, "isOtp": False,
}  # fmt: skip
_DELIVERED: dict[str, Any] = {
    **_MESSAGE, "index": 0, "partsDelivered": 1, "state": "DELIVERED", "detailedState": "DELIVERED", "carrier": "sim",
    "carrierReference": "a1b2", "price": 0.05, "totalPrice": 0.05, "sentAt": _AT, "deliveredAt": _LATER,
    "updatedAt": _LATER,
}  # fmt: skip
_SHOWN = {name: value for name, value in _CALLBACK.items() if name != "headers"}
_DRAFT = {"id": "4b1d6f0a9c3e7258", "requestId": "draft-4b1d6f0a9c3e7258", "createdAt": _AT, "updatedAt": _AT,
          "sentAt": None}  # fmt: skip
_SEND = {"sender": "MyCompany", "recipient": _NUMBER, "message": "Hello! This is a test message."}
_SEND_TOLD = {**_SEND, "callback": {"url": "https://client.example/told"}}
_BATCH: dict[str, Any] = {
    "id": "autumn-1", "requestId": "autumn-1", "name": "Autumn sale", "createdAt": _AT, "sender": "MyCompany",
    "message": "Ciao {{name|friend}}", "dryRun": False, "recipients": 120311, "repeats": 14, "badLineCount": 1,
}  # fmt: skip
_BAD_LINE = {"line": 7, "reason": "3 columns, the header has 2"}
_STATES = {"NEW": 0, "PENDING": 2309, "DELIVERED": 117001, "EXPIRED": 0, "UNDELIVERABLE": 801, "REJECTED": 200}
_ENDPOINT: dict[str, Any] = {
    "id": "ep_0123456789abcdef01234567", "url": "https://client.example/events",
    "events": ["message.final", "account.balance-low"], "description": "", "batch": 1, "batchMilliseconds": 0,
    "enabled": True, "secrets": [{"createdAt": _AT, "expiresAt": None}], "createdAt": _AT, "updatedAt": _AT,
}  # fmt: skip
_TOKEN: dict[str, Any] = {"id": "0f3a5c7e9b11", "name": "dashboard", "scopes": ["read"], "createdAt": _AT,
                          "expiresAt": "2027-11-22T00:00:00.000Z"}  # fmt: skip
_EVENT = {"type": "message.delivered", "timestamp": _LATER, "data": {**_DELIVERED, "callback": _SHOWN}}
_NEWS = {"account": "acme", "kind": "balance-low", "at": _AT, "available": "9.95", "mark": "10.00"}

EXAMPLES: dict[str, Any] = {
    "SendMessageRequest": {**_SEND_TOLD, "requestId": _REQUEST},
    "WorldwideRequest": {**_SEND_TOLD, "requestId": "order-8-shipped"},
    "ItalianRequest": {**_SEND_TOLD, "requestId": "order-9-shipped"},
    "SpanishRequest": {**_SEND_TOLD, "recipient": "+34612345678", "requestId": "order-10-shipped"},
    "UnnamedRequest": _SEND_TOLD,
    "UploadRequest": {"sender": "MyCompany", "message": "Ciao {{name|friend}}", "requestId": "autumn-1",
                      "name": "Autumn sale"},
    "OtpRequest": {"recipient": _NUMBER, "length": 6, "cacheSeconds": 120},
    "VerifyRequest": {"recipient": _NUMBER, "code": "402913"},
    "CancelRequest": {"requestId": _REQUEST},
    "OptOutRequest": {"recipients": [_NUMBER, "+393337654321"]},
    "EndpointRequest": {"url": "https://client.example/events", "events": ["message.final", "account.balance-low"]},
    "RotationRequest": {"keepHours": 24},
    "ReplayRequest": {"state": "given-up", "from": "2026-11-22T08:00:00Z"},
    "TokenRequest": {"name": "dashboard", "scopes": ["read"], "expiresAt": "2999-11-22"},
    "ReceiptsRequest": {"receipts": [{"id": "a1b2", "reference": _ID, "status": "DELIVRD", "error": "000",
                                      "doneAt": _LATER}]},
    "MessageResponse": _MESSAGE,
    "OtpResponse": {
        **{name: value for name, value in _MESSAGE.items() if name != "callback"}, "sender": "OTP MOBILE",
        "message": "Il tuo codice è *****", "charactersCount": 21, "isOtp": True, "otp": "402913", "custom": {},
        "otpOptions": {"length": 6, "alphanumeric": False, "cacheSeconds": 120}, "options": {**_OPTIONS, "otp": True},
    },
    "Cancellation": {"id": _ID, "state": "NEW", "detailedState": "SCHEDULED"},
    "RequestCancellation": {"requestId": _REQUEST, "states": {"SCHEDULED": 3}},
    "Count": {"day": "2026-11-22", "messages": 3, "parts": 4, "states": {**_STATES, "PENDING": 0, "DELIVERED": 3,
              "UNDELIVERABLE": 0, "REJECTED": 0},
              "deliveryTime": {"deliveries": 3, "p50": 1.2, "p90": 2.4, "p99": 2.4}},
    "Estimate": {
        "recipients": 2, "accepted": 1, "parts": 1,
        "groups": [{"countryCode": "IT", "operator": "TIM", "recipients": 1, "parts": 1, "price": "0.0500",
                    "totalPrice": "0.0500", "bundle": None}],
        "totalPrice": "0.0500", "currency": "EUR", "available": "100.00", "sufficient": True, "shortage": None,
        "refused": [{"index": 1, "recipient": "12", "code": 2011, "message": "recipient: no + at the start",
                     "permanent": True}],
    },
    "Verification": {"verified": True, "attemptsLeft": 4},
    "BatchSummary": _BATCH,
    "Upload": {**_BATCH, "badLines": [_BAD_LINE]},
    "Batch": {
        **_BATCH, "progress": {"known": 120311, "final": 118002, "share": 0.9808}, "states": _STATES,
        "detailedStates": {"QUEUED": 0, "SUBMITTED": 2309, "DELIVERED": 117001, "UNDELIVERABLE": 801, "REJECTED": 200},
        "cost": {"spent": "5901.10", "reserved": "115.45", "currency": "EUR"},
    },
    "BadLine": _BAD_LINE,
    "DraftResponse": {**_DRAFT, "request": _SEND},
    "DraftSummary": {**_DRAFT, "sender": "MyCompany", "message": _SEND["message"], "recipients": 1},
    "Balance": {"balance": "100.00", "reserved": "0.05", "available": "99.95", "currency": "EUR"},
    "Movement": {
        "sequence": 2, "at": _AT, "kind": "reserve", "amount": "0.05", "balance": "100.00", "reserved": "0.05",
        "available": "99.95", "currency": "EUR", "batch": "69218a60e4a9a0e698", "requestId": _REQUEST, "messages": 1,
        "parts": 1, "reference": None, "reason": None, "priceList": "2026-11", "bundle": None, "bundleLeft": None,
    },
    "Spend": {"day": "2026-11-22", "messages": 3, "parts": 4, "amount": "0.20", "currency": "EUR"},
    "Price": {"country": "IT", "operator": "", "prefix": "", "price": "0.0500", "currency": "EUR"},
    "Prices": {"version": "2026-11"},
    "OptOut": {"recipient": _NUMBER},
    "OptOutCounts": {"added": 1, "known": 1},
    "Endpoint": _ENDPOINT,
    "EndpointWithSecret": {**_ENDPOINT, "secret": "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="},
    "TestCall": {"id": "evt_0123456789abcdef01234567"},
    "Delivery": {
        "id": f"{_ID}:6", "at": _LATER, "endpoint": "ep_0123456789abcdef01234567",
        "url": "https://client.example/events",
        "state": "retrying", "attempt": 1, "status": 503, "error": None, "milliseconds": 41,
        "nextAttemptAt": "2026-11-22T10:00:09.300Z",
        "events": [{"id": f"{_ID}:6", "type": "message.delivered", "message": _ID}],
    },
    "Replay": {"events": 12, "nextCursor": None},
    "Token": _TOKEN,
    "NewToken": {**_TOKEN, "token": "smsp_" + "A" * 43},
    "Health": {"status": "ok", "missing": []},
    "Waiting": {"status": "waiting", "missing": ["kafka"]},
    "CallbackMessage": _EVENT["data"],
    "MessageEvent": _EVENT,
    "AccountEvent": {"type": "account.balance-low", "timestamp": _AT, "data": _NEWS},
    "TestEvent": {"type": "endpoint.test", "timestamp": _AT, "data": {"endpoint": "ep_0123456789abcdef01234567"}},
    "EventBatch": {"type": "batch", "timestamp": _LATER, "data": [{"id": f"{_ID}:6", **_EVENT}]},
}  # fmt: skip

#: Files and lines.
CSV = {
    "recipients": "number,name\n+393331234567,Ada\n+393337654321,Bo\n",
    "lines": '{"message": "Ciao {{name}}", "requestId": "autumn-2"}\n'
    '{"number": "+393331234567", "fields": {"name": "Ada"}}\n"+393337654321"\n',
    "MessageResponse": "recipient,state,detailedState\r\n+393331234567,DELIVERED,DELIVERED\r\n",
    "Movement": "sequence,at,kind,amount\r\n2,2026-11-22T10:00:00.000Z,reserve,0.05\r\n",
}
