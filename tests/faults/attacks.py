"""Attacks on signing in, on tokens and on rules of access: each is a defence taken away.

The name of a fault says what an attacker could do then; `caught_by` is the test that does it. Where two
defences stand behind each other both are taken away.
"""

from __future__ import annotations

from tests.faults.planted import Fault

_COMPONENT = "components/auth/"
_TESTS = "tests/components/auth/"
_FLOWS = _TESTS + "test_flows.py"
_CODES = _TESTS + "test_codes.py"
_PASSWORDS = _TESTS + "test_passwords.py"
_ATTEMPTS = _TESTS + "test_attempts.py"
_REFRESHING = _TESTS + "test_refreshing.py"
_REDIRECTS = _TESTS + "test_redirects.py"
_SECRETS = _TESTS + "test_secrets.py"
_CLIENT = _COMPONENT + "oauth_client.py"
_FLOW = _COMPONENT + "oauth_flow.py"
_STORE = _COMPONENT + "store.py"
_SIGNING_IN = _COMPONENT + "signing_in.py"
_SESSIONS = _COMPONENT + "sessions.py"
_CODE = _COMPONENT + "codes.py"
_ACCOUNTS = _COMPONENT + "accounts.py"
_TRIES = _COMPONENT + "attempts.py"
_REDIRECT = _COMPONENT + "redirects.py"
_USERS = "functions/access.py"


def _by(test: str, name: str) -> tuple[str, ...]:
    return (test, "-k", name)


_OAUTH = (
    Fault(
        name="an answer to another flow is taken: the state is not compared",
        file=_CLIENT,
        old='        if not hmac.compare_digest(answered.get("state", "").encode(), checks.state.encode()):\n',
        new="        if False:\n",
        caught_by=_by(_FLOWS, "an_answer_that_is_no_yes"),
    ),
    Fault(
        name="an ID token of another flow is taken: the nonce is not compared",
        file=_CLIENT,
        old="        if not isinstance(nonce, str) or not hmac.compare_digest(\n"
        "            nonce.encode(), checks.nonce.encode()\n"
        "        ):\n",
        new="        if nonce is nonce is Ellipsis:\n",
        caught_by=_by(_FLOWS, "an_id_token_of_another_flow"),
    ),
    Fault(
        name="a stolen code is exchanged: no PKCE",
        file=_CLIENT,
        old="                code_challenge=code_challenge(checks.code_verifier),\n"
        '                code_challenge_method="S256",\n',
        new="",
        caught_by=_by(_FLOWS, "signs_in_by_openid_connect"),
    ),
    Fault(
        name="PKCE is plain",
        file=_CLIENT,
        old='                code_challenge_method="S256",\n',
        new='                code_challenge_method="plain",\n',
        caught_by=_by(_FLOWS, "signs_in_by_openid_connect"),
    ),
    Fault(
        name="one flow's checks serve all: they are the same each time",
        file=_CLIENT,
        old="            state=secrets.token_urlsafe(32),\n",
        new='            state="state",\n',
        caught_by=_by(_SECRETS, "differ_each_time"),
    ),
    Fault(
        name="an answer of another provider is taken: its iss is not compared",
        file=_CLIENT,
        old='        if self._issuer is not None and answered.get("iss", self._issuer) != self._issuer:\n',
        new="        if False:\n",
        caught_by=_by(_FLOWS, "an_answer_that_is_no_yes"),
    ),
    Fault(
        name="a code is redeemed by another browser: the verifier is not compared",
        file=_CODE,
        old='    if code.verifier is not None and not _same(code.verifier, presented.verifier or ""):\n'
        "        return None\n",
        new="",
        caught_by=_by(_FLOWS, "browser_that_has_the_verifier"),
    ),
    Fault(
        name="a flow is ended by a browser that did not begin it: any verifier does",
        file=_STORE,
        old='        query = self._ctx.db.unrestricted.query("authVerifiers").with_index(\n'
        '            "signature", signature=wanted.signature\n'
        "        )\n",
        new='        query = self._ctx.db.unrestricted.query("authVerifiers")\n',
        caught_by=_by(_SECRETS, "cookies_that_nobody_was_given"),
    ),
    Fault(
        name="a flow is ended twice",
        file=_STORE,
        old="        self._ctx.db.unrestricted.delete(verifier.id)\n        # Whose",
        new="        # Whose",
        caught_by=_by(_FLOWS, "signs_in_by_openid_connect"),
    ),
    Fault(
        name="a flow is ended whenever somebody likes",
        file=_STORE,
        old='        verifier = cast("AuthVerifier | None", query.first())\n'
        "        if verifier is None or _is_late(verifier):\n",
        new='        verifier = cast("AuthVerifier | None", query.first())\n'
        "        if verifier is None:\n",
        caught_by=_by(_FLOWS, "takes_too_long"),
    ),
    Fault(
        name="an OAuth code is good for hours",
        file=_COMPONENT + "policy.py",
        old="OAUTH_CODE_MS: Final = 2 * 60_000\n",
        new="OAUTH_CODE_MS: Final = 120 * 60_000\n",
        caught_by=_by(_FLOWS, "good_for_two_minutes"),
    ),
    Fault(
        name="an ID token is signed by anybody",
        file=_CLIENT,
        old='            options={"require": ["iss", "sub", "aud", "exp", "iat"]},\n',
        new='            options={"require": ["iss", "sub", "aud", "exp", "iat"], "verify_signature": False,\n'
        '                     "verify_exp": True, "verify_aud": True, "verify_iss": True},\n',
        caught_by=_by(_FLOWS, "somebody_else_has_signed"),
    ),
    Fault(
        name="an ID token of another application is taken: its aud is not compared",
        file=_CLIENT,
        old='            options={"require": ["iss", "sub", "aud", "exp", "iat"]},\n',
        new='            options={"require": ["iss", "sub", "aud", "exp", "iat"], "verify_aud": False},\n',
        caught_by=_by(_FLOWS, "an_id_token_of_another_flow"),
    ),
    Fault(
        name="an ID token of another application is taken: its azp is not compared",
        file=_CLIENT,
        old='        if claims.get("azp", None if is_for_many else self._client_id) != self._client_id:\n',
        new="        if False:\n",
        caught_by=_by(_FLOWS, "an_id_token_of_another_flow"),
    ),
    Fault(
        name="an ID token of another provider is taken: its iss is not compared",
        file=_CLIENT,
        old="            issuer=self._issuer,\n",
        new="",
        caught_by=_by(_FLOWS, "an_id_token_of_another_flow"),
    ),
    Fault(
        name="an ID token is good for ever",
        file=_CLIENT,
        old='            options={"require": ["iss", "sub", "aud", "exp", "iat"]},\n',
        new='            options={"require": ["iss", "sub", "aud", "iat"], "verify_exp": False},\n',
        caught_by=_by(_FLOWS, "an_id_token_of_another_flow"),
    ),
    Fault(
        name="a provider is what another says of it: the issuer of a configuration is not compared",
        file=_CLIENT,
        old='        if not isinstance(said, dict) or said.get("issuer") != issuer:\n',
        new="        if not isinstance(said, dict):\n",
        caught_by=_by(_FLOWS, "calls_itself_another"),
    ),
    Fault(
        name="secrets are sent where everybody on the way reads them",
        file=_CLIENT,
        old='        if not is_safe(url):\n            msg = f"provider {self._provider.id!r} answers',
        new='        if False:\n            msg = f"provider {self._provider.id!r} answers',
        caught_by=_by(_FLOWS, "over_tls_alone"),
    ),
    Fault(
        name="secrets are taken along to wherever a provider leads",
        file=_CLIENT,
        old="            follow_redirects=False,\n",
        new="            follow_redirects=True,\n",
        caught_by=_by(_SECRETS, "redirects_of_a_provider"),
    ),
    Fault(
        name="a provider's answer fills the memory",
        file=_CLIENT,
        old="                if len(answer) > _ANSWER_BYTES_MAX:\n",
        new="                if False:\n",
        caught_by=_by(_SECRETS, "answer_without_end"),
    ),
    Fault(
        name="a form from anywhere ends a flow of a provider that posts none",
        file=_COMPONENT + "auth.py",
        old='            if provider.response_mode == "form_post":\n',
        new="            if True:\n",
        caught_by=_by(_FLOWS, "may_answer_by_a_form"),
    ),
    Fault(
        name="a flow is begun with any verifier",
        file=_STORE,
        old="        if verifier is None or _is_late(verifier):\n"
        "            return False\n"
        "        self._ctx.db.unrestricted.patch(",
        new="        if verifier is None:\n"
        "            return True\n"
        "        self._ctx.db.unrestricted.patch(",
        caught_by=_by(_FLOWS, "begins_with_its_verifier"),
    ),
)

_COOKIES = (
    Fault(
        name="scripts read the cookies of a flow",
        file=_FLOW,
        old="            httponly=True,\n",
        new="            httponly=False,\n",
        caught_by=_by(_FLOWS, "cookies"),
    ),
    Fault(
        name="cookies of a flow go over the network as they are",
        file=_FLOW,
        old="            secure=self._is_secure or is_form,\n",
        new="            secure=False,\n",
        caught_by=_by(_FLOWS, "cookies"),
    ),
    Fault(
        name="another host of the domain sets the cookies of a flow: no __Host-",
        file=_FLOW,
        old='        prefix = "__Host-" if self._is_secure else ""\n',
        new='        prefix = ""\n',
        caught_by=_by(_FLOWS, "cookies"),
    ),
    Fault(
        name="requests of other sites carry the cookies of a flow: SameSite=None without need",
        file=_FLOW,
        old='            samesite="none" if is_form else "lax",\n',
        new='            samesite="none",\n',
        caught_by=_by(_FLOWS, "cookies"),
    ),
    Fault(
        name="cookies of a flow outlive it",
        file=_FLOW,
        old="        self._cookies.take_back(response)\n",
        new="",
        caught_by=_by(_FLOWS, "signs_in_by_openid_connect"),
    ),
)

_OPEN_REDIRECTS = (
    Fault(
        name="open redirect: a host that begins as the site does",
        file=_REDIRECT,
        old='        if rest != redirect_to and (not rest or rest.startswith(("?", "/"))):\n',
        new="        if rest != redirect_to:\n",
        caught_by=(_REDIRECTS,),
    ),
    Fault(
        name="open redirect: what browsers read otherwise",
        file=_REDIRECT,
        old='    return text.isascii() and text.isprintable() and " " not in text and "\\\\" not in text\n',
        new="    return True\n",
        caught_by=(_REDIRECTS,),
    ),
    Fault(
        name="open redirect: a host that ends as an allowed one does",
        file=_REDIRECT,
        old="            return host.endswith(self.host[1:]) and len(host) > len(self.host[1:])\n",
        new="            return host.endswith(self.host[2:])\n",
        caught_by=(_REDIRECTS,),
    ),
    Fault(
        name="open redirect: a user before the host",
        file=_REDIRECT,
        old='        if "@" in parts.netloc or port != self.port or not self._is_host(host):\n',
        new="        if port != self.port or not self._is_host(host):\n",
        caught_by=(_REDIRECTS,),
    ),
    Fault(
        name="open redirect: another port",
        file=_REDIRECT,
        old='        if "@" in parts.netloc or port != self.port or not self._is_host(host):\n',
        new='        if "@" in parts.netloc or not self._is_host(host):\n',
        caught_by=(_REDIRECTS,),
    ),
    Fault(
        name="open redirect: upwards out of an allowed folder",
        file=_REDIRECT,
        old='        return is_below and not any(_is_upwards(part) for part in path.split("/"))\n',
        new="        return is_below\n",
        caught_by=(_REDIRECTS,),
    ),
    Fault(
        name="open redirect: URLs that are scripts",
        file=_REDIRECT,
        old="        if not found or not _SCHEME.match(scheme) or scheme in _NEVER:\n",
        new="        if not found or not _SCHEME.match(scheme):\n",
        caught_by=(_REDIRECTS,),
    ),
    Fault(
        name="open redirect: a cookie that somebody has put in",
        file=_FLOW,
        old="            back = destination(redirect_to, pages, self._config.allowed_redirects)\n",
        new="            back = redirect_to or pages\n",
        caught_by=_by(_FLOWS, "cookie_that_somebody_has_put_in"),
    ),
    Fault(
        name="open redirect: where a flow is asked to end",
        file=_FLOW,
        old="        destination(redirect_to, site_url(self._ctx), self._config.allowed_redirects)\n"
        "        checks",
        new="        checks",
        caught_by=_by(_FLOWS, "begins_with_its_verifier"),
    ),
    Fault(
        name="open redirect: where a client asks to be sent",
        file=_SIGNING_IN,
        old="        return destination(redirect_to, site_url(self._ctx), self._config.allowed_redirects)\n",
        new="        return str(redirect_to or site_url(self._ctx))\n",
        caught_by=_by(_REDIRECTS, "clients_are_refused"),
    ),
)

_TAKEOVERS = (
    Fault(
        name="takeover: a provider's word for an address that it has not verified",
        file=_COMPONENT + "oauth.py",
        old='        return said.get("email_verified") is True or self.trusts_email\n',
        new="        return True\n",
        caught_by=_by(_FLOWS, "the_provider_has_not_verified"),
    ),
    Fault(
        name="takeover: an address that GitHub has not verified",
        file=_COMPONENT + "oauth.py",
        old='                if isinstance(each, dict) and each.get("primary") and each.get("verified") is True\n',
        new='                if isinstance(each, dict) and each.get("primary")\n',
        caught_by=_by(_FLOWS, "by_github"),
    ),
    Fault(
        name="takeover: who signed up first with another's address waits for them",
        file=_ACCOUNTS,
        old='    verified = [user.id for user in cast("list[AuthUser]", users.collect()) if _time(user, index)]\n',
        new='    verified = [user.id for user in cast("list[AuthUser]", users.collect())]\n',
        caught_by=_by(_CODES, "nobody_has_proven_links_nobody"),
    ),
    Fault(
        name="takeover: an account with another's address, which nobody has to prove",
        file=_ACCOUNTS,
        old="    if profile.email is not None and (profile.email_proven or profile.email_awaited):\n",
        new="    if profile.email is not None:\n",
        caught_by=_by(_SECRETS, "typed_links_nobody"),
    ),
    Fault(
        name="takeover: of two users of an address one is taken",
        file=_ACCOUNTS,
        old="    return verified[0] if len(verified) == 1 else None\n",
        new="    return verified[0] if verified else None\n",
        caught_by=_by(_FLOWS, "not_chosen_between"),
    ),
    Fault(
        name="takeover: being signed in links without being asked for",
        file=_ACCOUNTS,
        old="    if rules.linking is Linking.SIGNED_IN and current is not None and _is_own(wanted, profile):\n",
        new="    if current is not None and _is_own(wanted, profile):\n",
        caught_by=_by(_FLOWS, "being_signed_in_links_nobody"),
    ),
    Fault(
        name="takeover: whose address somebody has typed who is signed in is let in as them",
        file=_ACCOUNTS,
        old="    if rules.linking is Linking.SIGNED_IN and current is not None and _is_own(wanted, profile):\n",
        new="    if rules.linking is Linking.SIGNED_IN and current is not None:\n",
        caught_by=("tests/components/auth",),
    ),
    Fault(
        name="takeover: an address that was typed takes the place of one that is proven",
        file=_ACCOUNTS,
        old="        elif proven_before is not None:\n            del fields[address]\n",
        new="",
        caught_by=("tests/components/auth",),
    ),
    Fault(
        name="takeover: what was typed renames who has proven the address",
        file=_ACCOUNTS,
        old="        if existing is not None or profile.email_proven or profile.phone_proven:\n",
        new="        if True:\n",
        caught_by=_by(_SECRETS, "typed_changes_nothing"),
    ),
    Fault(
        name="takeover: an address that is not proven lets in",
        file=_SIGNING_IN,
        old='        if provider.verify is not None and account["emailVerified"] != account["accountId"]:\n',
        new="        if False:\n",
        caught_by=_by(_PASSWORDS, "before_the_address_is_proven"),
    ),
    Fault(
        name="takeover: signing up again changes the password of who has proven the address",
        file=_STORE,
        old="        if account is None or self._is_claimed(account):\n",
        new="        if account is None:\n",
        caught_by=_by(_PASSWORDS, "does_not_tell_who_is_there"),
    ),
    Fault(
        name="takeover: who signed up before with another's address keeps the password",
        file=_STORE,
        old='        self._ctx.db.unrestricted.patch(account.id, {"secret": secret, "claimTime": now})\n',
        new="",
        caught_by=_by(_PASSWORDS, "has_nothing_of_it or nobodys"),
    ),
    Fault(
        name="takeover: who waits for the owner's sign-up has the last word on the password",
        file=_STORE,
        old="        secret = wanted.secret if before + wanted.contest_ms < now else None\n",
        new="        secret = wanted.secret\n",
        caught_by=(_PASSWORDS,),
    ),
    Fault(
        name="takeover: the beginning of another's flow adds a way in to their user",
        file=_STORE,
        old="        issue_code(self._ctx, flow, code)\n",
        new="        self._entered(wanted.provider, flow)\n        issue_code(self._ctx, flow, code)\n",
        caught_by=(_FLOWS,),
    ),
    Fault(
        name="takeover: a reset code of one's own resets another's password",
        file=_STORE,
        old="            return lambda params, found: account is not None and found.id == account.id\n",
        new="            return lambda params, found: account is not None\n",
        caught_by=_by(_PASSWORDS, "of_one_account or its_address_alone"),
    ),
    Fault(
        name="takeover: a reset code signs in by itself",
        file=_COMPONENT + "auth.py",
        old="            found.discard(provider.reset.id)\n",
        new="            found.add(provider.reset.id)\n",
        caught_by=_by(_PASSWORDS, "signs_nobody_in_by_itself"),
    ),
    Fault(
        name="takeover: a thief stays signed in when the password is reset",
        file=_STORE,
        old="        user_id = self._verified(redeemed, account)\n"
        '        self._ctx.db.unrestricted.patch(account.id, {"secret": wanted.secret})\n'
        "        end_sessions(self._ctx, user_id)\n",
        new="        user_id = self._verified(redeemed, account)\n"
        '        self._ctx.db.unrestricted.patch(account.id, {"secret": wanted.secret})\n',
        caught_by=_by(_PASSWORDS, "forgotten_is_replaced"),
    ),
    Fault(
        name="takeover: a thief stays signed in when the password is changed",
        file=_STORE,
        old="        end_sessions(self._ctx, account.user_id, keep={session.id})\n",
        new="",
        caught_by=_by(_PASSWORDS, "changed_by_who_is_signed_in"),
    ),
    Fault(
        name="takeover: a thief has the refresh token of a session whose password is changed",
        file=_STORE,
        old="        forget_tokens(self._ctx, session.id)\n",
        new="",
        caught_by=(_PASSWORDS,),
    ),
    Fault(
        name="takeover: a session that was left open changes the password",
        file=_SIGNING_IN,
        old="            await self._check(provider, attempt, str(current))\n",
        new="            pass\n",
        caught_by=_by(_PASSWORDS, "changed_by_who_is_signed_in"),
    ),
    Fault(
        name="takeover: the code of another provider is taken",
        file=_CODE,
        old="    if authorize is None or (presented.provider or code.provider) != code.provider:\n",
        new="    if authorize is None:\n",
        caught_by=_by(_CODES, "short_code_needs_its_address"),
    ),
    Fault(
        name="takeover: another provider's user is taken for one of ours",
        file=_USERS,
        old='        return issuer is not None and identity.issuer.rstrip("/") == issuer.rstrip("/")\n',
        new="        return True\n",
        caught_by=_by(_REFRESHING, "another_provider_calls_so"),
    ),
    Fault(
        name="another's session is ended, or used",
        file=_USERS,
        old='        if session is None or _field(session, "userId") != user_id:\n',
        new="        if session is None:\n",
        caught_by=("tests/access/test_users.py", "-k", "session_of_another_user"),
    ),
    Fault(
        name="a session that was ended goes on",
        file=_USERS,
        old="            ctx.auth.session_is_over = True\n            return None, None\n",
        new="            return user, None\n",
        caught_by=_by(_REFRESHING, "noticed_at_once"),
    ),
    Fault(
        name="claims of an application's own replace whom a token is about",
        file=_COMPONENT + "access_tokens.py",
        old="    if taken:\n",
        new="    if False:\n",
        caught_by=_by(_SECRETS, "claims_that_are_the_tokens"),
    ),
)

_GUESSING = (
    Fault(
        name="passwords are guessed without end",
        file=_TRIES,
        old="    if min(left) < 1:\n        return False\n",
        new="",
        caught_by=_by(_PASSWORDS, "guesses_at_a_password_run_out"),
    ),
    Fault(
        name="a thousand guesses at one moment count as one",
        file=_SIGNING_IN,
        old="    if attempt is Attempt.REFUSED:\n        _too_many_attempts()\n    # Whoever",
        new="    # Whoever",
        caught_by=_by(_PASSWORDS, "guesses_at_the_same_moment"),
    ),
    Fault(
        name="passwords are guessed by signing up",
        file=_SIGNING_IN,
        old="        if attempt is Attempt.REFUSED:\n            _too_many_attempts()\n        # Of a new",
        new="        # Of a new",
        caught_by=_by(_PASSWORDS, "guesses_by_signing_up"),
    ),
    Fault(
        name="one account is guessed at from many addresses",
        file=_TRIES,
        old='        _Bucket(key=target.key("strangers"), per_hour=target.per_hour * OF_ALL_STRANGERS),\n',
        new='        _Bucket(key=target.key("strangers", address), per_hour=target.per_hour * OF_ALL_STRANGERS),\n',
        caught_by=_by(_ATTEMPTS, "from_many_addresses_at_one_account"),
    ),
    Fault(
        name="many accounts are guessed at from one address",
        file=_TRIES,
        old='        _Bucket(key=anybodys.key("from", address), per_hour=target.per_hour * FROM_ONE_ADDRESS),\n',
        new='        _Bucket(key=target.key("all", address), per_hour=target.per_hour * FROM_ONE_ADDRESS),\n',
        caught_by=_by(_ATTEMPTS, "from_one_address_at_many_accounts"),
    ),
    Fault(
        name="an account of one's own gives guesses at others'",
        file=_TRIES,
        old="    if attempt is Attempt.TAKEN:\n",
        new="    if True:\n",
        caught_by=_by(_ATTEMPTS, "account_of_ones_own"),
    ),
    Fault(
        name="lockout: somebody uses up the attempts of who has got in from there before",
        file=_TRIES,
        old="    return Attempt.SPARED if _is_known(ctx, target, address) else Attempt.CROWDED\n",
        new="    return Attempt.CROWDED\n",
        caught_by=_by(_ATTEMPTS, "not_for_who_is_known"),
    ),
    Fault(
        name="lockout: attempts at an account are one bucket, wherever they come from",
        file=_TRIES,
        old='    return _Bucket(key=target.key("from", address), per_hour=target.per_hour)\n',
        new='    return _Bucket(key=target.key("from"), per_hour=target.per_hour)\n',
        caught_by=_by(_ATTEMPTS, "run_out_there_and_nowhere_else"),
    ),
    Fault(
        name="lockout: whoever asks for messages elsewhere keeps somebody from theirs",
        file=_STORE,
        old="            proven_by=(self.code(address), self.secret(account)),\n",
        new="",
        caught_by=_by(_ATTEMPTS, "nobody_is_kept_from"),
    ),
    Fault(
        name="lockout: somebody at one address keeps all threads busy",
        file=_COMPONENT + "passwords.py",
        old="        if _by_address[self._address] >= HASHES_FROM_ONE_ADDRESS:\n",
        new="        if False:\n",
        caught_by=_by(_ATTEMPTS, "leave_room_for_hashes"),
    ),
    Fault(
        name="lockout: passwords without end to be hashed",
        file=_COMPONENT + "providers.py",
        old="        if not self.min_length <= len(password) <= PASSWORD_LENGTH_MAX:\n",
        new="        if not self.min_length <= len(password):\n",
        caught_by=_by(_PASSWORDS, "a_password_that_is_none"),
    ),
    Fault(
        name="lockout: hashes that wait without end",
        file=_COMPONENT + "passwords.py",
        old="        if threads.waiting >= WAITING_MAX:\n",
        new="        if False:\n",
        caught_by=_by(_PASSWORDS, "hashes_that_wait_are_bounded"),
    ),
    Fault(
        name="who signed in once from an address is known there for ever",
        file=_TRIES,
        old="    return any(row is not None and row.last_time + KNOWN_ADDRESS_MS > now for row in rows)\n",
        new="    return any(row is not None for row in rows)\n",
        caught_by=_by(_ATTEMPTS, "for_long_is_a_stranger"),
    ),
    Fault(
        name="an attacker is another network with each address of IPv6",
        file=_COMPONENT + "policy.py",
        old="    return str(ipaddress.ip_network((ip, 64), strict=False))\n",
        new="    return ip\n",
        caught_by=_by(_ATTEMPTS, "network_of_ipv6"),
    ),
    Fault(
        name="a client says itself where it is",
        file="server/proxies.py",
        old="        if not self._is_in(peer):\n            return None if peer is None else str(peer)\n",
        new="",
        caught_by=("tests/server/test_proxies.py",),
    ),
    Fault(
        name="a client behind a proxy says itself where it is",
        file="server/proxies.py",
        old='            rest, _, last = rest.rpartition(",")\n',
        new='            last, _, rest = rest.partition(",")\n',
        caught_by=("tests/server/test_proxies.py",),
    ),
    Fault(
        name="codes are guessed without end",
        file=_STORE,
        old="        if not _LET_IN.issuperset(attempts.values()):\n            return None\n",
        new="",
        caught_by=_by(_CODES, "guesses_at_a_code_run_out"),
    ),
    Fault(
        name="reset codes are guessed without end",
        file=_STORE,
        old="        if attempt not in _LET_IN:\n            return None\n        account = find_account",
        new="        account = find_account",
        caught_by=_by(_PASSWORDS, "guesses_at_a_reset_code"),
    ),
    Fault(
        name="a short code is anybody's whose it is",
        file=_COMPONENT + "verification.py",
        old="        if not self.names_address:\n            return True\n",
        new="        return True\n",
        caught_by=_by(_CODES, "short_code_needs_its_address"),
    ),
    Fault(
        name="codes are so short that they are guessed",
        file=_COMPONENT + "verification.py",
        old="    if not 6 <= digits <= 16:\n",
        new="    if not 1 <= digits <= 16:\n",
        caught_by=_by(_SECRETS, "few_digits"),
    ),
    Fault(
        name="a mailbox is flooded",
        file=_SIGNING_IN,
        old="        if attempt is Attempt.REFUSED:\n            _too_many_sendings()\n        return attempt\n",
        new="        return attempt\n",
        caught_by=_by(_PASSWORDS, "messages_to_one_address"),
    ),
    Fault(
        name="a mailbox is flooded with links",
        file=_SIGNING_IN,
        old="            case Attempt.REFUSED:\n                _too_many_sendings()\n",
        new="            case Attempt.REFUSED:\n                await send_message(self._ctx, provider, address, token, back)\n",
        caught_by=_by(_CODES, "messages_to_one_address"),
    ),
    Fault(
        name="a link is used twice",
        file=_CODE,
        old="            ctx.db.unrestricted.delete(code.id)\n            return Redeemed(\n",
        new="            return Redeemed(\n",
        caught_by=_by(_CODES, "good_once_and_for_a_while"),
    ),
    Fault(
        name="a link is good for ever",
        file=_CODE,
        old="    if code.expiration_time < time.time() * 1000:\n",
        new="    if False:\n",
        caught_by=_by(_CODES, "good_once_and_for_a_while"),
    ),
    Fault(
        name="a link that was replaced is used",
        file=_CODE,
        old="        ctx.db.unrestricted.delete(earlier.id)\n",
        new="        pass\n",
        caught_by=_by(_CODES, "replaces_the_one_before"),
    ),
)

_ENUMERATION = (
    Fault(
        name="who has an account is told by how long it takes",
        file=_SIGNING_IN,
        old='    is_right = await hasher.verify(secret, None if account is None else account["secret"])\n',
        new='    is_right = account is not None and await hasher.verify(secret, account["secret"])\n',
        caught_by=_by(_PASSWORDS, "are_told_the_same"),
    ),
    Fault(
        name="who has an account is told by what is counted",
        file=_STORE,
        old="        attempt = take_attempt(self._ctx, self._rules.secret(tried))\n"
        '        return {"account": _shown(account), "attempt": attempt.value}\n',
        new="        attempt = Attempt.TAKEN if account is None else take_attempt(self._ctx, self._rules.secret(tried))\n"
        '        return {"account": _shown(account), "attempt": attempt.value}\n',
        caught_by=_by(_PASSWORDS, "are_told_the_same"),
    ),
    Fault(
        name="who has an account is told by signing up",
        file=_SIGNING_IN,
        old="        if provider.verify is None:\n            # Without codes",
        new="        if True:\n            # Without codes",
        caught_by=_by(_PASSWORDS, "does_not_tell_who_is_there"),
    ),
    Fault(
        name="who has an account is told by how often one may sign up",
        file=_STORE,
        old="        if wanted.secret is not None or account is not None:\n",
        new="        if account is not None:\n",
        caught_by=_by(_ATTEMPTS, "runs_out_alike"),
    ),
    Fault(
        name="who has an account is told by how long sending a code takes",
        file=_SIGNING_IN,
        old="        # In the background, and there for those who have no account too: how long sending takes\n"
        "        # would tell.\n"
        "        await self._ctx.scheduler.run_after(\n            0,\n            self._config.send_code,\n",
        new="        await self._ctx.run_action(\n            self._config.send_code,\n",
        caught_by=_by(_PASSWORDS, "reset_does_not_tell"),
    ),
    Fault(
        name="who has an account is told by who is spared",
        file=_SIGNING_IN,
        old="    if attempt is Attempt.CROWDED or (attempt is Attempt.SPARED and not is_right):\n",
        new="    if attempt is Attempt.CROWDED:\n",
        caught_by=_by(_ATTEMPTS, "does_not_tell_who_has_an_account"),
    ),
)

_AT_REST = (
    Fault(
        name="passwords are stored as they are",
        file=_COMPONENT + "passwords.py",
        old='        return f"{salt}:{await self._key(password, salt)}"\n',
        new='        return f"{password}:{await self._key(password, salt)}"\n',
        caught_by=_by(_PASSWORDS, "signs_up_and_in_again"),
    ),
    Fault(
        name="equal passwords are stored alike: no salt",
        file=_COMPONENT + "passwords.py",
        old="        salt = secrets.token_hex(16)\n",
        new='        salt = "0" * 32\n',
        caught_by=_by(_PASSWORDS, "salt_of_its_own"),
    ),
    Fault(
        name="passwords are hashed for less than they cost to guess",
        file=_COMPONENT + "passwords.py",
        old="_N, _R, _P, _KEY_BYTES = 16384, 16, 1, 64\n",
        new="_N, _R, _P, _KEY_BYTES = 1024, 16, 1, 64\n",
        caught_by=_by(_PASSWORDS, "convexs_library"),
    ),
    Fault(
        name="codes and refresh tokens are stored as they are",
        file=_SESSIONS,
        old="    return hashlib.sha256(secret.encode()).hexdigest()\n",
        new="    return secret\n",
        caught_by=_by(_CODES, "codes_are_not_stored"),
    ),
    Fault(
        name="who reads the store makes refresh tokens of it",
        file=_SESSIONS,
        old="    return hmac.new(parent.encode(), nonce.encode(), hashlib.sha256).hexdigest()\n",
        new='    return hmac.new(b"", nonce.encode(), hashlib.sha256).hexdigest()\n',
        caught_by=_by(_SECRETS, "made_of_what_is_stored"),
    ),
    Fault(
        name="who reads the store ends the flows of others: signatures are not hashed",
        file=_CLIENT,
        old='        return hash_of(f"{self.code_verifier} {self.state} {self.nonce}")\n',
        new='        return f"{self.code_verifier} {self.state} {self.nonce}"\n',
        caught_by=_by(_SECRETS, "cookies_of_a_flow_are_not_stored"),
    ),
    Fault(
        name="what was typed for an address, a password perhaps, is stored",
        file=_TRIES,
        old='        return f"{self.kind} {hashlib.sha256(text.encode()).hexdigest()}"\n',
        new='        return f"{self.kind} {text}"\n',
        caught_by=_by(_ATTEMPTS, "what_was_typed"),
    ),
    Fault(
        name="codes are in the log of whoever asks for them",
        file=_COMPONENT + "verification.py",
        old='    sys.stderr.write(f"To {message.identifier}: {message.token} or {message.url}\\n")\n',
        new='    ctx.log.info(f"To {message.identifier}: {message.token} or {message.url}\\n")\n',
        caught_by=_by(_SECRETS, "printed_where_the_server_runs"),
    ),
    Fault(
        name="codes are printed in production",
        file=_COMPONENT + "verification.py",
        old='    if not _is_local(site) and ctx.env.get("AUTH_LOG_SECRETS") != "true":\n',
        new="    if False:\n",
        caught_by=_by(_CODES, "on_a_developers_machine_alone"),
    ),
    Fault(
        name="passwords are compared letter by letter",
        file=_COMPONENT + "passwords.py",
        old="        return hmac.compare_digest(made, key) and stored is not None\n",
        new="        return made == key and stored is not None\n",
        caught_by=_by(_SECRETS, "constant_time"),
    ),
    Fault(
        name="refresh tokens are compared letter by letter",
        file=_SESSIONS,
        old="    is_known = hmac.compare_digest(known, presented.hash)\n",
        new="    is_known = known == presented.hash\n",
        caught_by=_by(_SECRETS, "constant_time"),
    ),
    Fault(
        name="states are compared letter by letter",
        file=_CLIENT,
        old='        if not hmac.compare_digest(answered.get("state", "").encode(), checks.state.encode()):\n',
        new='        if answered.get("state", "") != checks.state:\n',
        caught_by=_by(_SECRETS, "constant_time"),
    ),
    Fault(
        name="nonces are compared letter by letter",
        file=_CLIENT,
        old="        if not isinstance(nonce, str) or not hmac.compare_digest(\n"
        "            nonce.encode(), checks.nonce.encode()\n"
        "        ):\n",
        new="        if nonce != checks.nonce:\n",
        caught_by=_by(_SECRETS, "constant_time"),
    ),
    Fault(
        name="verifiers are compared letter by letter",
        file=_CODE,
        old="    return hmac.compare_digest(one.encode(), other.encode())\n",
        new="    return one == other\n",
        caught_by=_by(_SECRETS, "constant_time"),
    ),
    Fault(
        name="keys that have ended are told",
        file=_COMPONENT + "access_tokens.py",
        old='    return {"keys": [key for key in keys if _expires(key) > now_s]}\n',
        new='    return {"keys": keys}\n',
        caught_by=_by(_SECRETS, "keys_that_have_ended"),
    ),
)

_REFRESH = (
    Fault(
        name="who knows a session ends it",
        file=_SESSIONS,
        old="    token = _token(ctx, presented)\n    if token is None:\n        return None\n",
        new="    token = _token(ctx, presented)\n    if token is None:\n"
        '        known = ctx.db.unrestricted.normalize_id("authSessions", presented.session_id)\n'
        "        if known is not None:\n            end_session(ctx, known)\n        return None\n",
        caught_by=_by(_REFRESHING, "who_knows_a_session"),
    ),
    Fault(
        name="a refresh token is good without its secret",
        file=_SESSIONS,
        old="    if token is None or not is_known or token.session_id != presented.session_id:\n",
        new="    if token is None or token.session_id != presented.session_id:\n",
        caught_by=_by(_REFRESHING, "who_knows_a_session"),
    ),
    Fault(
        name="a refresh token is good for another session",
        file=_SESSIONS,
        old="    if token is None or not is_known or token.session_id != presented.session_id:\n",
        new="    if token is None or not is_known:\n",
        caught_by=_by(_REFRESHING, "who_knows_a_session"),
    ),
    Fault(
        name="a stolen refresh token that comes back late ends nothing",
        file=_SESSIONS,
        old="    _use_up(ctx, token, now - REUSE_WINDOW_MS)\n",
        new="",
        caught_by=_by(_REFRESHING, "comes_back_late"),
    ),
    Fault(
        name="a refresh token is used again at any time",
        file=_SESSIONS,
        old="    if token.first_used_time + REUSE_WINDOW_MS > now:\n",
        new="    if True:\n",
        caught_by=_by(_REFRESHING, "comes_back_late"),
    ),
    Fault(
        name="a session is refreshed beyond its end",
        file=_SESSIONS,
        old="    is_late = has_had_its_time(session) or token.expiration_time < _now()\n",
        new="    is_late = token.expiration_time < _now()\n",
        caught_by=_by(_SECRETS, "a_session"),
    ),
    Fault(
        name="a refresh token that nobody has used for long is good",
        file=_SESSIONS,
        old="    is_late = has_had_its_time(session) or token.expiration_time < _now()\n",
        new="    is_late = has_had_its_time(session)\n",
        caught_by=_by(_SECRETS, "a_session"),
    ),
    Fault(
        name="who was deleted stays signed in",
        file=_SESSIONS,
        old="    return is_late or ctx.db.unrestricted.get(session.user_id) is None\n",
        new="    return is_late\n",
        caught_by=_by(_SECRETS, "user_who_is_gone"),
    ),
    Fault(
        name="the session before goes on when somebody signs in again",
        file=_STORE,
        old="        self.sign_out()\n        for before",
        new="        for before",
        caught_by=_by(_REFRESHING, "ends_the_session_before"),
    ),
    Fault(
        name="who may not sign in does",
        file=_STORE,
        old="            before(self._ctx, user_id)\n",
        new="            pass\n",
        caught_by=_by(_REFRESHING, "may_not_sign_in"),
    ),
)

_VERIFIER = "identity/token_verifier.py"
_TOKENS = "identity/tokens.py"
_VERIFYING = "tests/identity/test_token_verifier.py"
_GIVEN_UP = "tests/acceptance/test_given_up_tokens.py"

_BEARERS = (
    Fault(
        name="a token is signed with an algorithm that is none of its provider's",
        file=_VERIFIER,
        old="        if token.algorithm not in provider.algorithms:\n",
        new="        if False:\n",
        caught_by=_by(_VERIFYING, "its_algorithm_alone or exactly_if"),
    ),
    Fault(
        name="a token is signed by anybody",
        file=_VERIFIER,
        old="            if key.has_signed(token.signed, token.signature):\n",
        new="            if True:\n",
        caught_by=_by(_VERIFYING, "somebody_elses or exactly_if"),
    ),
    Fault(
        name="a token says with which of a provider's keys it was signed, whatever they are for",
        file="identity/key_sets.py",
        old='        or jwk.get("use", "sig") != "sig"\n',
        new="",
        caught_by=_by(_VERIFYING, "something_else_or_too_weak"),
    ),
    Fault(
        name="a weak key is as good as a strong one",
        file="identity/signatures.py",
        old="        return key if shortest <= key.key_size <= longest else None\n",
        new="        return key\n",
        caught_by=_by(_VERIFYING, "something_else_or_too_weak"),
    ),
    Fault(
        name="a token that asks for what is not understood is taken",
        file=_TOKENS,
        old='    if "crit" in header:\n',
        new="    if False:\n",
        caught_by=_by(_VERIFYING, "critical_and_not_understood"),
    ),
    Fault(
        name="one token has many texts",
        file=_TOKENS,
        old='    if base64.urlsafe_b64encode(content).rstrip(b"=") != part.encode():\n',
        new="    if False:\n",
        caught_by=_by(_VERIFYING, "one_spelling"),
    ),
    Fault(
        name="a token without end is read",
        file=_TOKENS,
        old="    if len(text) > limits.token_bytes_max:\n",
        new="    if False:\n",
        caught_by=_by(_VERIFYING, "too_long_is_not_even_read"),
    ),
    Fault(
        name="a token for another application is taken",
        file="identity/providers.py",
        old="        return same_issuer(issuer, self.issuer) and self.application_id in audiences\n",
        new="        return same_issuer(issuer, self.issuer)\n",
        caught_by=_by(_VERIFYING, "another_audience or exactly_if"),
    ),
    Fault(
        name="a token of another issuer is taken",
        file="identity/providers.py",
        old="        return same_issuer(issuer, self.issuer) and self.application_id in audiences\n",
        new="        return self.application_id in audiences\n",
        caught_by=_by(_VERIFYING, "another_issuer or exactly_if"),
    ),
    Fault(
        name="a token that is for others too is taken",
        file=_TOKENS,
        old="    if isinstance(provider, OidcIssuer) and len(token.audiences) > 1:\n",
        new="    if False:\n",
        caught_by=_by(_VERIFYING, "another_audience or exactly_if"),
    ),
    Fault(
        name="a token is good for ever",
        file=_TOKENS,
        old="    if now_s >= expires + tolerance_s:\n",
        new="    if False:\n",
        caught_by=_by(_VERIFYING, "differ_by_a_little or exactly_if"),
    ),
    Fault(
        name="a token without an end is taken",
        file=_TOKENS,
        old='        raise NotVerified("it has no exp: it would be good for ever")\n',
        new="        expires = 2.0**52\n",
        caught_by=_by(_VERIFYING, "exactly_if"),
    ),
    Fault(
        name="a token is good before its time",
        file=_TOKENS,
        old="    if not_before is not None and now_s < not_before - tolerance_s:\n",
        new="    if False:\n",
        caught_by=_by(_VERIFYING, "differ_by_a_little or exactly_if"),
    ),
    Fault(
        name="a token without kid is by any of its provider's keys",
        file="identity/key_sets.py",
        old="            return found if len(found) == 1 else ()\n",
        new="            return found\n",
        caught_by=_by(_VERIFYING, "by_the_only_key_or_by_nobody"),
    ),
    Fault(
        name="made-up keys flood a provider",
        file="identity/documents.py",
        old="            if wait_s > 0 and self._flight is None:\n",
        new="            if False:\n",
        caught_by=_by(_VERIFYING, "forged_ones_flood_nobody"),
    ),
    Fault(
        name="a provider has the server ask for something on its own machine",
        file=_VERIFIER,
        old="        return is_trustworthy(url) and (is_local(issuer) or not is_local(url))\n",
        new="        return is_trustworthy(url)\n",
        caught_by=_by(_VERIFYING, "a_configuration_that_cannot_be_trusted"),
    ),
    Fault(
        name="keys come over a network that anybody can change",
        file="identity/fetching.py",
        old="        if not is_trustworthy(url):\n",
        new="        if False:\n",
        caught_by=("tests/identity/test_fetching.py", "-k", "cannot_be_trusted"),
    ),
    Fault(
        name="keys come from wherever a provider leads",
        file="identity/fetching.py",
        old="        follow_redirects=False,\n",
        new="        follow_redirects=True,\n",
        caught_by=("tests/identity/test_fetching.py", "-k", "followed_elsewhere"),
    ),
    Fault(
        name="a token that was remembered outlives its end",
        file="identity/verified_tokens.py",
        old="        if token.user.has_expired(now_ns):\n",
        new="        if False:\n",
        caught_by=_by(_VERIFYING, "what_is_remembered_ends"),
    ),
    Fault(
        name="a token that was remembered outlives its key",
        file=_VERIFIER,
        old="            if known is not None and self.holds(known):\n",
        new="            if known is not None:\n",
        caught_by=_by(_VERIFYING, "what_is_remembered_ends"),
    ),
    Fault(
        name="a token that was remembered outlives whose turn it is to say so",
        file=_VERIFIER,
        old="        self._remembered.clear()\n",
        new="",
        caught_by=_by(_VERIFYING, "first_provider_that_matches_decides_for_tokens_that_come_again"),
    ),
    Fault(
        name="tokens that are remembered fill the memory",
        file="identity/verified_tokens.py",
        old="        while self._bytes > limits.tokens_remembered_bytes_max:\n",
        new="        while False:\n",
        caught_by=_by(_VERIFYING, "within_a_bound_of_bytes"),
    ),
    Fault(
        name="a token that waits for its keys is held against those that were given up",
        file=_VERIFIER,
        old="            if self._keys.get(asked.provider) is asked.keys:\n",
        new="            if True:\n",
        caught_by=_by(_VERIFYING, "while_their_keys_are_asked_for"),
    ),
    Fault(
        name="a thief who is connected stays so when the key is given up",
        file="server/sync_socket.py",
        old="                socket.end_refused()\n",
        new="                pass\n",
        caught_by=(_GIVEN_UP,),
    ),
    Fault(
        name="who is connected is looked at when somebody else signs in, and not before",
        file="server/sync_socket.py",
        old="        await asyncio.gather(*map(verifier.ask, providers))\n",
        new="        del providers\n",
        caught_by=(_GIVEN_UP,),
    ),
    Fault(
        name="a key that its provider has withdrawn is good for who is connected",
        file="identity/documents.py",
        old="            if before is not None and self._held != before:\n                self._changed()\n",
        new="",
        caught_by=(_GIVEN_UP,),
    ),
)

_RULES_HOLD = ("tests/access/test_rules_hold.py", "-k", "plain_filter")
_DATABASE = "functions/database.py"
_RULES = "functions/row_rules.py"
_TRANSACTIONS = "runtime/transactions.py"

_ACCESS = (
    Fault(
        name="hidden rows: get",
        file=_DATABASE,
        old="        return document if rules is None or rules.may_read(table, document) else None\n",
        new="        return document\n",
        caught_by=_RULES_HOLD,
    ),
    Fault(
        name="hidden rows: an index",
        file=_DATABASE,
        old="        query._filters, query._has_index = list(self._filters), self._has_index\n",
        new='        query._filters = [] if method == "with_index" else list(self._filters)\n'
        "        query._has_index = self._has_index\n",
        caught_by=_RULES_HOLD,
    ),
    Fault(
        name="hidden rows: a search",
        file=_DATABASE,
        old="        query._filters, query._has_index = list(self._filters), self._has_index\n",
        new='        query._filters = [] if method == "with_search_index" else list(self._filters)\n'
        "        query._has_index = self._has_index\n",
        caught_by=_RULES_HOLD,
    ),
    Fault(
        name="hidden rows: an order",
        file=_DATABASE,
        old="        query._filters, query._has_index = list(self._filters), self._has_index\n",
        new='        query._filters = [] if method == "order" else list(self._filters)\n'
        "        query._has_index = self._has_index\n",
        caught_by=_RULES_HOLD,
    ),
    Fault(
        name="hidden rows: a page",
        file=_DATABASE,
        old="                    if self._query.accepts(document):\n                        items.append(document)\n",
        new="                    items.append(document)\n",
        caught_by=_RULES_HOLD,
    ),
    Fault(
        name="hidden rows: a count",
        file=_DATABASE,
        old="            if not self._filters:\n                return len(scan.take(_ALL))\n",
        new="            return len(scan.take(_ALL))\n",
        caught_by=_RULES_HOLD,
    ),
    Fault(
        name="hidden rows: a call within a call",
        file=_TRANSACTIONS,
        old="        if component.rules is not None:\n            # Before",
        new="        if component.rules is not None and depth == 0:\n            # Before",
        caught_by=_RULES_HOLD,
    ),
    Fault(
        name="hidden rows: a call of a component",
        file=_TRANSACTIONS,
        old="        if component.rules is not None:\n            # Before",
        new="        if component.rules is not None and not component.component:\n            # Before",
        caught_by=("tests/access/test_components.py", "-k", "rules_of_its_own_tables"),
    ),
    Fault(
        name="hidden rows: a result is shared with who may not see it",
        file=_TRANSACTIONS,
        old="            make = partial(self._reading, scope, function, log, pagination, depth, self._user)\n",
        new="            make = partial(self._reading, scope, function, log, pagination, depth, lambda: user_of(self.call.identity))\n",
        caught_by=("tests/access/test_rules.py", "-k", "never_share"),
    ),
    Fault(
        name="hidden rows: they can be written",
        file=_DATABASE,
        old="        return rules is None or rules.may_read(table, self._access.document(table, packed))\n",
        new="        return True\n",
        caught_by=_RULES_HOLD,
    ),
    Fault(
        name="forbidden writes: insert",
        file=_RULES,
        old="        if rule is not None and not self._holds(rule, row()):\n"
        '            raise self._refused("insert into", table, rule)\n',
        new="",
        caught_by=_RULES_HOLD,
    ),
    Fault(
        name="forbidden writes: a row that becomes another's",
        file=_RULES,
        old="            may = self._holds(rule, old()) and self._holds(rule, new())\n",
        new="            may = self._holds(rule, old())\n",
        caught_by=_RULES_HOLD,
    ),
    Fault(
        name="forbidden writes: another's row that becomes one's own",
        file=_RULES,
        old="            may = self._holds(rule, old()) and self._holds(rule, new())\n",
        new="            may = self._holds(rule, new())\n",
        caught_by=_RULES_HOLD,
    ),
    Fault(
        name="forbidden writes: delete",
        file=_RULES,
        old="        if rule is not None and not self._holds(rule, row()):\n"
        '            raise self._refused("delete from", table, rule)\n',
        new="",
        caught_by=_RULES_HOLD,
    ),
    Fault(
        name="a table that nobody thought of is open, with default deny",
        file=_RULES,
        old='            return _OPEN if table.startswith("_") else self.others\n',
        new="            return _OPEN\n",
        caught_by=("tests/access/test_rules.py", "-k", "nobody_thought_of"),
    ),
    Fault(
        name="a guard that forgot to answer lets in",
        file="functions/predicates.py",
        old="    if answer is True or answer is False:\n        return answer\n",
        new="    if answer:\n        return True\n    return False\n",
        caught_by=("tests/access/test_guards.py", "-k", "answers_true_or_false"),
    ),
    Fault(
        name="a guard of an action is not asked",
        file="runtime/actions.py",
        old="                    if function.guard is not None and call.asks_guard:\n",
        new="                    if False:\n",
        caught_by=("tests/access/test_guards.py", "-k", "actions_are_guarded"),
    ),
    Fault(
        name="a guard of a route is not asked",
        file="runtime/http_actions.py",
        old="        if route.guard is not None and not await self._may(call, route, answer, request):\n",
        new="        if False:\n",
        caught_by=("tests/access/test_guards.py", "-k", "routes_answer or mounted"),
    ),
)

ATTACKS = (
    *_OAUTH,
    *_COOKIES,
    *_OPEN_REDIRECTS,
    *_TAKEOVERS,
    *_GUESSING,
    *_ENUMERATION,
    *_AT_REST,
    *_REFRESH,
    *_BEARERS,
    *_ACCESS,
)
