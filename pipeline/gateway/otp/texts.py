"""The text of a login code in the recipient's language, by country. Data.

A text has the field `code`, and is one part with the longest code: in GSM-7 wherever the language can be written in it
(words with other letters are avoided), else in UCS-2 with at most 70 characters.
"""

CODE = "code"

TEXTS = {
    "ar": "رمز التحقق الخاص بك هو {{code}}. لا تشاركه مع أحد.",
    "bg": "Вашият код за потвърждение е {{code}}. Не го споделяйте.",
    "cs": "PIN: {{code}}. Nikomu jej neprozrazujte.",
    "da": "Din bekræftelseskode er {{code}}. Del den ikke med nogen.",
    "de": "Ihr Bestätigungscode lautet {{code}}. Geben Sie ihn nicht weiter.",
    "el": "Ο κωδικός σας είναι {{code}}. Μην τον δώσετε σε κανέναν.",
    "en": "Your verification code is {{code}}. Do not share it with anyone.",
    "es": "Tu clave de un solo uso es {{code}}. No la compartas con nadie.",
    "fi": "Vahvistuskoodisi on {{code}}. Älä jaa sitä kenellekään.",
    "fr": "Votre code de vérification est {{code}}. Ne le communiquez à personne.",
    "he": "קוד האימות שלך הוא {{code}}. אין למסור אותו לאיש.",
    "hr": "Kod za potvrdu: {{code}}. Nemojte ga dijeliti ni s kim.",
    "hu": "Az Ön ellenőrző kódja: {{code}}. Ne adja meg senkinek.",
    "id": "Kode verifikasi Anda adalah {{code}}. Jangan berikan kepada siapa pun.",
    "it": "Il tuo codice di verifica è {{code}}. Non comunicarlo a nessuno.",
    "ja": "認証コードは {{code}} です。誰にも教えないでください。",
    "ko": "인증번호는 {{code}} 입니다. 타인에게 알려주지 마세요.",
    "nl": "Uw verificatiecode is {{code}}. Deel deze code met niemand.",
    "no": "Din bekreftelseskode er {{code}}. Ikke del den med noen.",
    "pl": "Kod weryfikacyjny: {{code}}. Nie podawaj go nikomu.",
    "pt": "A sua chave de acesso é {{code}}. Nunca a mostre a outra pessoa.",
    "ro": "Cod de verificare: {{code}}. Este strict personal.",
    "ru": "Ваш код подтверждения: {{code}}. Никому его не сообщайте.",
    "sr": "Kod za potvrdu: {{code}}. Ne delite ga ni sa kim.",
    "sv": "Din verifieringskod är {{code}}. Dela den inte med någon.",
    "tr": "Onay kodunuz: {{code}}. Kimseye vermeyin.",
    "uk": "Ваш код підтвердження: {{code}}. Нікому його не повідомляйте.",
    "vi": "Mã xác minh: {{code}}. Không chia sẻ mã này với ai.",
    "zh": "您的验证码是 {{code}}，请勿告知他人。",
    "zh-Hant": "您的驗證碼是 {{code}}，請勿告知他人。",
}

#: Language to the countries (ISO 3166-1) whose numbers get it. Where several are official: the one most people read.
_COUNTRIES = {
    "ar": "AE BH DJ DZ EG IQ JO KW LB LY MA MR OM PS QA SA SD SY TN YE",
    "bg": "BG",
    "cs": "CZ",
    "da": "DK FO GL",
    "de": "AT CH DE LI",
    "el": "CY GR",
    "es": "AR BO CL CO CR CU DO EC ES GQ GT HN MX NI PA PE PR PY SV UY VE",
    "fi": "AX FI",
    "fr": "BF BI BJ BL CD CF CG CI CM FR GA GF GN GP HT KM LU MC MF MG ML MQ NC NE PF PM RE SN TD TG WF YT",
    "he": "IL",
    "hr": "BA HR",
    "hu": "HU",
    "id": "ID",
    "it": "IT SM VA",
    "ja": "JP",
    "ko": "KR",
    "nl": "AW BE BQ CW NL SR SX",
    "no": "NO SJ",
    "pl": "PL",
    "pt": "AO BR CV GW MZ PT ST TL",
    "ro": "MD RO",
    "ru": "BY KG KZ RU",
    "sr": "ME RS",
    "sv": "SE",
    "tr": "TR",
    "uk": "UA",
    "vi": "VN",
    "zh": "CN",
    "zh-Hant": "HK MO TW",
}
LANGUAGES = {country: language for language, countries in _COUNTRIES.items() for country in countries.split()}


def text_for(country: str) -> str:
    """The template for a recipient's country; English where no other language is known for it."""
    return TEXTS[LANGUAGES.get(country, "en")]
