"""Operators as price lists name them: by libphonenumber's name, or by MCC-MNC.

A message's operator is the one its number range was given to, under libphonenumber's English name. A list may say the
same by the code of the network (ITU-T E.212: three digits of country, two or three of network); the networks below are
known by both. Another code is kept as it is: it decides only where an operator is told by that code.
"""

import functools
import re

_CODE = re.compile(r"([0-9]{3})-?([0-9]{2,3})").fullmatch

# Country: "code name", in libphonenumber's spelling.
_NETWORKS = {
    "AE": ("424-02 Etisalat", "424-03 du"),
    "AT": ("232-01 A1 TA", "232-03 T-Mobile AT", "232-05 Three", "232-10 Three"),
    "AU": ("505-01 Telstra", "505-02 Optus", "505-03 Vodafone"),
    "BE": ("206-01 Proximus", "206-10 Orange", "206-20 Telenet"),
    "BG": ("284-01 A1", "284-03 Vivacom", "284-05 Yettel"),
    "BR": ("724-02 TIM", "724-03 TIM", "724-04 TIM", "724-05 Claro", "724-06 Vivo", "724-10 Vivo", "724-11 Vivo"),
    "CH": ("228-01 Swisscom", "228-02 Sunrise", "228-03 Salt"),
    "CN": ("460-00 China Mobile", "460-01 China Unicom", "460-11 China Telecom"),
    "CO": ("732-101 Claro", "732-103 Tigo", "732-111 Tigo", "732-123 Movistar"),
    "CY": ("280-01 Cytamobile-Vodafone", "280-10 Epic", "280-20 PrimeTel"),
    "CZ": ("230-01 T-Mobile", "230-02 O2", "230-03 Vodafone"),
    "DE": ("262-01 T-Mobile", "262-02 Vodafone", "262-03 Eplus", "262-07 O2", "262-23 1&1 Mobilfunk"),
    "DK": ("238-01 tdc", "238-02 telenor", "238-06 3", "238-20 telia"),
    "EE": ("248-01 Telia Eesti AS", "248-02 Elisa", "248-03 Tele 2"),
    "EG": ("602-01 Orange", "602-02 Vodafone", "602-03 Etisalat", "602-04 TE"),
    "ES": ("214-01 Vodafone", "214-03 Orange", "214-04 Yoigo", "214-07 Movistar"),
    "FI": ("244-05 Elisa", "244-12 DNA", "244-91 Telia"),
    "FR": ("208-01 Orange France", "208-10 SFR", "208-15 Free Mobile", "208-20 Bouygues"),
    "GB": ("234-10 O2", "234-15 Vodafone", "234-20 Three", "234-30 EE"),
    "GR": ("202-01 Cosmote", "202-05 Vodafone", "202-10 Nova"),
    "HK": ("454-03 3", "454-06 SmarTone", "454-12 China Mobile", "454-16 HKT", "454-19 HKT"),
    "HR": ("219-01 Hrvatski Telekom", "219-02 Tele2", "219-10 A1 Telekom"),
    "HU": ("216-01 Yettel Hungary", "216-30 Magyar Telekom", "216-70 One"),
    "IE": ("272-01 Vodafone", "272-02 O2", "272-03 Meteor", "272-05 3"),
    "IL": ("425-03 Pelephone",),
    "IT": ("222-01 TIM", "222-10 Vodafone", "222-88 WIND", "222-99 3 Italia"),
    "JP": ("440-10 NTT Docomo", "440-20 Softbank", "440-50 KDDI"),
    "KE": ("639-02 Safaricom", "639-03 Airtel", "639-07 Telkom"),
    "KR": ("450-06 LG U+", "450-08 KT"),
    "LT": ("246-01 Telia", "246-02 BITĖ", "246-03 Tele 2"),
    "LU": ("270-01 POST", "270-77 Tango", "270-99 Orange"),
    "LV": ("247-01 LMT", "247-02 Tele2", "247-05 Bite Latvia"),
    "MA": ("604-00 Orange", "604-01 Maroc Telecom", "604-02 Inwi"),
    "MT": ("278-01 epic", "278-21 GO Mobile", "278-77 Melita Mobile"),
    "NG": ("621-20 Airtel", "621-30 MTN", "621-50 Glo", "621-60 9mobile"),
    "NL": ("204-04 Vodafone Libertel B.V.", "204-08 KPN", "204-16 T-Mobile"),
    "NO": ("242-01 telenor norge", "242-02 telia"),
    "NZ": ("530-01 Vodafone", "530-05 Spark", "530-24 2degrees"),
    "PE": ("716-06 Movistar", "716-10 Claro", "716-17 Entel"),
    "PH": ("515-02 Globe", "515-03 Smart", "515-66 Dito"),
    "PL": ("260-01 Plus", "260-02 T-Mobile", "260-03 Orange", "260-06 Play"),
    "PT": ("268-01 Vodafone", "268-03 NOS", "268-06 MEO"),
    "RO": ("226-01 Vodafone", "226-05 Digi Mobil", "226-10 Orange"),
    "RS": ("220-01 Telenor", "220-03 Telekom Srbija a.d.", "220-05 A1"),
    "SA": ("420-01 STC", "420-03 Mobily", "420-04 Zain"),
    "SE": ("240-01 TeliaSonera", "240-02 HI3G Access", "240-07 Tele2 Sverige", "240-08 Telenor Sverige"),
    "SG": ("525-01 SingTel", "525-03 M1", "525-05 StarHub", "525-10 Simba"),
    "SI": ("293-40 A1", "293-41 Telekom Slovenije", "293-70 Telemach"),
    "SK": ("231-01 Orange", "231-02 T-Mobile (Slovak Telekom)", "231-03 4ka of SWAN", "231-06 Telefonica O2"),
    "TH": ("520-03 AIS", "520-04 True Move", "520-05 DTAC"),
    "TR": ("286-01 Turkcell", "286-02 Vodafone", "286-03 Turk Telekom"),
    "TW": ("466-01 FarEasTone", "466-92 Chunghwa Telecom", "466-97 Taiwan Mobile"),
    "UA": ("255-01 Vodafone", "255-03 Kyivstar", "255-06 lifecell"),
    "VN": ("452-01 MobiFone", "452-02 Vinaphone", "452-04 Viettel", "452-05 Vietnamobile"),
    "ZA": ("655-01 Vodacom", "655-02 Telkom Mobile", "655-07 Cell C", "655-10 MTN"),
}

#: MCC-MNC (digits alone) to country and libphonenumber's name.
NETWORKS: dict[str, tuple[str, str]] = {
    code.replace("-", ""): (country, name)
    for country, networks in _NETWORKS.items()
    for code, _, name in (network.partition(" ") for network in networks)
}


@functools.lru_cache(8192)  # operators come from libphonenumber and from lists, so there are only so many
def canonical(operator: str) -> str:
    """An operator as prices are kept under it: its name case-folded, or the digits of a code without a known name."""
    code = _CODE(operator)
    if code is None:
        return operator.casefold()
    digits = code[1] + code[2]
    known = NETWORKS.get(digits)
    return known[1].casefold() if known else digits


def home_of(operator: str) -> str | None:
    """The country of a known MCC-MNC; None for names and other codes."""
    code = _CODE(operator)
    known = NETWORKS.get(code[1] + code[2]) if code else None
    return known[0] if known else None
