"""Answers as the gateways' own sources write them, and what each of them proves; docs/gateways.md names the files.

A case: the status, the body, the outcome's class, and words that its reason holds.
"""

from typing import Any

from worker.models import Locked, Rejected, Retry, Sent, Stopped, Throttled, Unconfirmed

Case = tuple[int, object, type, str]


def evolution(status: int, said: object) -> tuple[int, dict[str, Any]]:
    """evolution-api/src/main.ts"""
    return status, {"status": status, "error": "Bad Request", "response": {"message": said}}


def wrapped(said: str) -> tuple[int, dict[str, Any]]:
    """The catch around sending and storing: whatsapp.baileys.service.ts, sendMessageWithTyping."""
    return evolution(400, [said])


def graph(code: int, **more: Any) -> dict[str, Any]:
    """What a business instance hands on as a 201: whatsapp.business.service.ts, post."""
    return {"message": f"(#{code}) Title", "type": "OAuthException", "code": code, "fbtrace_id": "A", **more}


def waha(message: str, **more: Any) -> tuple[int, dict[str, Any]]:
    """waha/src/nestjs/AllExceptionsFilter.ts"""
    return 500, {"statusCode": 500, "exception": {"message": message, "name": "Error", **more}}


def wppconnect(error: object) -> tuple[int, dict[str, Any]]:
    """wppconnect-server/src/controller/messageController.ts, returnError"""
    return 500, {"status": "Error", "message": "Erro ao enviar a mensagem.", "error": error, "session": "shop"}


def sent(message: object) -> tuple[int, dict[str, Any]]:
    """The same file, returnSucess"""
    return 201, {"status": "success", "response": [message], "mapper": "return"}


def result(ack: int, word: str) -> tuple[int, dict[str, Any]]:
    """wa-js/src/chat/functions/sendRawMessage.ts"""
    return sent({"id": "x", "ack": ack, "sendMsgResult": {"messageSendResult": word}})


GRPC = "2 UNKNOWN: "
NULL = "TypeError: Cannot read properties of undefined (reading '{}')"
PRISMA = (
    "PrismaClientKnownRequestError: \nInvalid `this.prismaRepository.{}()` invocation in\n/evolution/dist/main.js:1"
)
LICENCE = {
    "error": "service not activated",
    "code": "LICENSE_REQUIRED",
    "message": "This Evolution API instance is not activated. Open",
}
NOT_WORKING = {"error": "Session status is not as expected. Try again later", "session": "shop", "status": "FAILED"}
CORE = "WAHA Core support only 'default' session. If you want to run more - please get WAHA PLUS version."
PLUS_VIDEO = 'Use "devlikeapro/waha-plus:chrome" docker image to send video'
TRANSLATED = {"error": "La sesión no está lista", "session": "shop", "status": "SCAN_QR_CODE", "expected": ["WORKING"]}
NO_SESSION = "We didn't find a session with name 'shop'.\nPlease start it first by using POST /api/sessions/shop/start"
DISCONNECTED = {"response": None, "status": "Disconnected", "message": "A sessão do WhatsApp não está ativa."}
NO_FILE = {"erro": True, "to": "9@c.us", "text": 'No such file or directory, open "https://e.com/r.pdf"'}
NO_CHAT = {"code": "chat_not_found", "message": "Chat not found for 9@c.us"}
TOO_LARGE = {"code": "file_too_large", "message": "File size 99 MB exceeds the upload limit"}
NOT_A_MEMBER = "failed to get group members: you're not participating in that group"
NO_DEVICES = "failed to get device list: failed to send usync query: info query timed out"
NO_ENGINE = "14 UNAVAILABLE: No connection established. Last error: connect ECONNREFUSED"
NO_STREAM = "Error: Failed to fetch stream from https://e.com/r.pdf"
NO_PICTURE = "Error: Input buffer contains unsupported image format"
PAGE_CLOSED = "Protocol error (Runtime.callFunctionOn): Session closed. Most likely the page has been closed."
TARGET_CLOSED = "Protocol error (Runtime.callFunctionOn): Target closed."

EVOLUTION: list[Case] = [
    # before the request is looked at
    (503, LICENCE, Stopped, "activate the licence"),
    (503, {**LICENCE, "message": "Esta instância não está ativada"}, Stopped, "activate the licence"),
    (403, {"code": "LICENSE_REVOKED", "message": "Revoked"}, Stopped, "activate the licence"),
    (503, {"error": "service not activated"}, Stopped, "activate the licence"),
    (530, {"title": "Error 1033: Cloudflare Tunnel error", "status": 530}, Retry, "not available"),
    (404, {"status": "error", "code": 404, "message": "Application not found"}, Stopped, "check its URL"),  # Railway
    (*evolution(404, ['The "shop" instance does not exist']), Stopped, "the connection's sender must be its name"),
    (*evolution(404, ["Cannot POST /v1/message/sendText/shop"]), Stopped, "check EVOLUTION_URL"),
    (*evolution(401, "Unauthorized"), Stopped, "does not accept our credentials"),
    (*evolution(500, "Not allowed by CORS"), Stopped, "CORS_ORIGIN"),
    (*evolution(400, [['instance requires property "text"']]), Rejected, "(invalid request: instance"),
    (*evolution(400, [["Invalid format", "x"]]), Rejected, "invalid request: Invalid format; x"),
    (*evolution(400, ["Owned media must be a url or base64"]), Rejected, "cannot fetch the attachment"),
    (*evolution(400, ["Method not available on Evolution Channel"]), Rejected, "cannot send this"),
    # before the catch: numbers, attachments, instances that are not there
    (*evolution(400, [{"jid": "9@s", "exists": False, "number": "9"}]), Rejected, "No WhatsApp account"),
    (*evolution(500, "Cannot read properties of undefined (reading 'textMessage')"), Stopped, "restart the instance"),
    (*evolution(500, "Cannot read properties of null (reading 'onWhatsApp')"), Stopped, "has not loaded"),
    (*evolution(500, [NULL.format("waUploadToServer")]), Stopped, "has not loaded"),
    (*evolution(500, "Cannot read properties of undefined (reading 'find')"), Retry, "did not answer the gateway"),
    (*evolution(500, "Connection Closed"), Stopped, "not connected to WhatsApp"),
    (*evolution(500, PRISMA.format("contact.findMany")), Retry, "cannot read its database"),
    (*evolution(500, [PRISMA.format("instance.findMany")]), Retry, "cannot read its database"),
    (*evolution(500, ["AxiosError: Request failed with status code 404"]), Rejected, "address is right and public"),
    (*evolution(500, ["AxiosError: Request failed with status code 503"]), Retry, "could not fetch the attachment"),
    (*evolution(404, "Request failed with status code 404"), Rejected, "cannot fetch the attachment"),
    (*evolution(401, "Request failed with status code 401"), Rejected, "cannot fetch the attachment"),
    (*evolution(429, "Request failed with status code 429"), Retry, "could not fetch the attachment"),
    (*evolution(500, [NO_STREAM]), Rejected, "cannot fetch the attachment"),
    (*evolution(500, ["Error: Media upload failed on all hosts"]), Retry, "could not hand the attachment"),
    (*evolution(500, ["TypeError: fetch failed"]), Retry, "before it sends"),
    (*evolution(500, "Error: connect ECONNREFUSED 127.0.0.1:6379"), Retry, "before it sends"),
    (*evolution(500, "Do not know how to serialize a BigInt"), Unconfirmed, "does not tell"),  # its own answer
    (*wrapped("Error: connect ECONNREFUSED 127.0.0.1:6379"), Unconfirmed, "does not tell"),
    (*evolution(500, [NO_PICTURE]), Rejected, "cannot read the picture"),
    (*evolution(500, "ffmpeg exited with code 1: "), Rejected, "cannot convert the audio"),
    # inside the catch, where only the words tell whether it was before or after the sending
    (*wrapped("Error: Connection Closed"), Stopped, "not connected to WhatsApp"),
    (*wrapped("SessionError: No sessions"), Retry, "no keys for this recipient"),
    (*wrapped("Error: All encryptions failed"), Retry, "no keys for this recipient"),
    (*wrapped("SessionError: Session closed"), Stopped, "not connected to WhatsApp"),
    (*wrapped("Error: No LID for user"), Rejected, "No WhatsApp account"),
    (*wrapped("Error: error 463"), Locked, "not written to it"),
    (*wrapped("ReachoutTimelock"), Locked, "not written to it"),
    (*wrapped("Error: WebSocket is not open: readyState 3 (CLOSED)"), Stopped, "not connected to WhatsApp"),
    (*wrapped("Error: Not authenticated"), Stopped, "not connected to WhatsApp"),
    (*wrapped("Error: service-unavailable"), Retry, "before the message was sent"),
    (*wrapped("Error: Invalid group metadata response: missing <group> node"), Retry, "before the message was sent"),
    (*wrapped("Error: rate-overlimit"), Throttled, "slow down"),
    (*wrapped("Error: not-acceptable"), Retry, "before the message was sent"),
    (*wrapped("[object Object]"), Retry, "cannot read this group"),
    (*wrapped(NULL.format("sendMessage")), Stopped, "has not loaded"),
    (*wrapped(NULL.format("message")), Unconfirmed, "no answer from Meta"),
    (*wrapped(NULL.format("key")), Unconfirmed, "does not tell whether the message went out"),
    (*wrapped(PRISMA.format("message.create")), Unconfirmed, "after sending"),
    (*wrapped("PrismaClientUnknownRequestError: Server has closed the connection."), Unconfirmed, "after sending"),
    (*wrapped("AxiosError: Request failed with status code 429"), Unconfirmed, "does not tell"),  # speech to text
    (*wrapped("Error: Timed Out"), Unconfirmed, "lost WhatsApp's answer"),
    (*wrapped("Error: S3 bucket: connection closed by peer"), Unconfirmed, "does not tell"),
    (*evolution(500, "Internal Server Error"), Unconfirmed, "does not tell"),
    # of a business instance, in a 201
    (201, graph(131047, error_data={"details": "too late"}), Rejected, "may be sent (131047: too late)"),
    (201, graph(130429), Throttled, "faster than WhatsApp allows"),
    (201, graph(190), Stopped, "does not accept our credentials"),
    (201, graph(100, error_subcode=33), Stopped, "does not know this phone number id"),
    (201, graph(132001), Rejected, "no approved template of this name"),
    (201, graph(131026), Rejected, "may have no WhatsApp account"),
    (201, graph(2, is_transient=True), Retry, "passing fault"),
    (201, graph(424242), Rejected, "refuses the request (424242: Title)"),
    (201, {**graph(131047), "code": "131047"}, Rejected, "only a template may be sent"),
    (201, {"error": graph(190)}, Stopped, "does not accept our credentials"),
    # taken
    (201, {"key": {"id": "3EB0"}, "status": "PENDING"}, Sent, ""),
    (201, {"key": {"id": "wamid.1"}, "status": "SERVER_ACK"}, Sent, ""),
    (201, {"key": {"id": "3EB0"}, "status": "ERROR", "messageStubParameters": ["463"]}, Locked, "not written to it"),
    (201, {"key": {"id": None}, "status": "SERVER_ACK"}, Unconfirmed, "named no message"),
    (201, {"key": {"id": "3EB0"}, "status": "ERROR", "messageStubParameters": [463]}, Locked, "not written to it"),
]  # fmt: skip

WAHA: list[Case] = [
    (422, {"statusCode": 422, "message": CORE, "error": "Unprocessable Entity"}, Stopped, "sender to default"),
    (422, NOT_WORKING, Stopped, "session is not connected"),
    (422, TRANSLATED, Stopped, "session is not connected to WhatsApp (session status SCAN_QR_CODE: La sesión"),
    (422, {"statusCode": 422, "message": "Session 'shop' is STOPPED"}, Stopped, "session is not connected"),
    (404, {"statusCode": 404, "message": "Session 'shop' does not exist"}, Stopped, "it must be started"),
    (404, {"statusCode": 404, "message": NO_SESSION, "error": "Not Found"}, Stopped, "it must be started"),
    (404, {"statusCode": 404, "message": "Cannot POST /api/sendText"}, Stopped, "WAHA_URL"),
    (404, {"error": {"key": "FILE_NOT_FOUND", "message": "File not found"}}, Unconfirmed, "File not found"),
    (422, {"statusCode": 422, "message": PLUS_VIDEO}, Rejected, "cannot send this kind"),
    (422, {"statusCode": 422, "message": "The method is not implemented by the engine."}, Rejected, "cannot send this"),
    (422, {"statusCode": 422, "message": "Something else"}, Unconfirmed, "does not tell"),
    (400, {"statusCode": 400, "message": ["chatId must be a string"]}, Rejected, "chatId must be a string"),
    (400, {"statusCode": 400, "message": "Try again"}, Unconfirmed, "Try again"),
    (401, {"statusCode": 401, "message": "Unauthorized"}, Stopped, "does not accept our credentials"),
    # GOWS: whatsmeow
    (*waha(GRPC + "server returned error 463"), Locked, "not written to it"),
    (*waha(GRPC + "o servidor retornou o erro 463"), Locked, "not written to it"),
    (*waha(GRPC + "server returned error 479"), Retry, "restart the session"),
    (*waha(GRPC + "server returned error 400"), Stopped, "restart the session"),  # its issue 2110: all of them
    (*waha(GRPC + "server returned error 429"), Throttled, "slow down"),
    (*waha(GRPC + "no LID found for 9@s.whatsapp.net from server"), Rejected, "does not find this number"),
    (*waha(GRPC + NOT_A_MEMBER), Rejected, "not in this group"),
    (*waha(GRPC + "failed to get group members: that group does not exist"), Rejected, "not in this group"),
    (*waha(GRPC + "can't send message to unknown server example.com"), Rejected, "no such kind of recipient"),
    (*waha(GRPC + "failed to refresh media connections: EOF"), Retry, "could not hand the attachment"),
    (*waha(GRPC + NO_DEVICES), Retry, "before the"),
    (*waha(GRPC + "failed to send message node: websocket not connected"), Stopped, "not connected"),
    (*waha(GRPC + "websocket not connected"), Unconfirmed, "does not tell"),
    (*waha(GRPC + "failed to send message node: broken pipe"), Unconfirmed, "does not tell"),
    (*waha(GRPC + "timed out waiting for message send response"), Unconfirmed, "lost WhatsApp's answer"),
    (*waha(GRPC + "websocket disconnected before message send returned response"), Unconfirmed, "does not tell"),
    (*waha(GRPC + "the store doesn't contain a device JID"), Stopped, "not connected"),
    (*waha(GRPC + "session not found"), Stopped, "not connected"),
    (*waha(NO_ENGINE), Stopped, "not connected"),
    (*waha("14 UNAVAILABLE: Name resolution failed for target dns:gows:1"), Stopped, "not connected"),
    (*waha("14 UNAVAILABLE: Connection dropped"), Unconfirmed, "does not tell"),
    (*waha("13 INTERNAL: Received RST_STREAM with code 2"), Unconfirmed, "does not tell"),
    (*waha(GRPC + "upload failed with status code 503"), Retry, "could not hand the attachment"),
    # NOWEB: Baileys
    (*waha("Connection Closed", isBoom=True), Stopped, "not connected"),
    (*waha("WebSocket is not open: readyState 2 (CLOSING)"), Stopped, "not connected"),
    (*waha("Not authenticated"), Stopped, "not connected"),
    (*waha("internal-server-error"), Retry, "before the message was sent"),
    (*waha("No sessions"), Retry, "no keys for this recipient"),
    (*waha("All encryptions failed"), Retry, "no keys for this recipient"),
    (*waha("rate-overlimit"), Throttled, "slow down"),
    (*waha("Invalid group metadata response"), Retry, "before the message was sent"),
    (*waha("9@s.whatsapp.net is not registered"), Rejected, "No WhatsApp account"),
    (*waha("Timed Out"), Unconfirmed, "lost WhatsApp's answer"),
    (*waha("async-lock timed out in queue auth"), Unconfirmed, "lost WhatsApp's answer"),
    (*waha("Media upload failed on all hosts"), Retry, "could not hand the attachment"),
    # WEBJS: a page
    (*waha("No LID for user"), Rejected, "does not find this number"),
    (*waha(PAGE_CLOSED), Stopped, "not connected"),
    (*waha("Attempted to use detached Frame 'A1'."), Stopped, "not connected"),
    (*waha(TARGET_CLOSED), Unconfirmed, "does not tell"),
    (*waha("Execution context was destroyed, most likely because of a navigation."), Unconfirmed, "does not tell"),
    (*waha("Evaluation failed: " + NULL.format("getMessageModel")), Unconfirmed, "does not tell"),
    (*waha("t: t\n    at #evaluate"), Unconfirmed, "does not tell"),
    (*waha("Runtime.callFunctionOn timed out. Increase the 'protocolTimeout'"), Unconfirmed, "lost WhatsApp's answer"),
    # the attachment
    (*waha("Request failed with status code 404", name="AxiosError"), Rejected, "cannot fetch the attachment"),
    (*waha("Request failed with status code 502", name="AxiosError"), Retry, "could not fetch the attachment"),
    (*waha("Failed to fetch stream from https://e.com/r.pdf"), Rejected, "cannot fetch the attachment"),
    # taken
    (201, {"id": "true_9@c.us_3EB0", "ack": 1}, Sent, ""),
    (201, {"key": {"id": "3EB0"}, "status": "ERROR"}, Retry, "could not send it"),
    (201, {"key": {"id": "3EB0"}, "status": 0}, Retry, "could not send it"),
    (201, {"id": "true_9@c.us_3EB0", "ackName": "ERROR"}, Retry, "could not send it"),
    (201, {"id": "req-7", "exception": {"message": "Boom"}}, Unconfirmed, "reports a fault (Boom)"),
    (201, {"id": "req-7", "error": "Bad Gateway"}, Unconfirmed, "reports a fault (Bad Gateway)"),
    (201, {"id": "req-7", "statusCode": 500, "exception": {"message": "Connection Closed"}}, Stopped, "not connected"),
]  # fmt: skip

WPPCONNECT: list[Case] = [
    (401, {"error": "Check that the Session and Token are correct"}, Stopped, "WPPCONNECT_SECRET_KEY"),
    (401, {"message": "Token is not present. Check your header and try again"}, Stopped, "session:token"),
    (404, DISCONNECTED, Stopped, "not connected"),
    (404, {**DISCONNECTED, "message": "La sesión no está activa"}, Stopped, "to WhatsApp (La sesión no"),
    (400, {**DISCONNECTED, "message": "Inactive"}, Stopped, "not connected"),  # its versions before 2
    (404, {"message": DISCONNECTED["message"]}, Stopped, "not connected"),  # where its state is not passed on
    (404, {"message": "Cannot POST /api/shop/send-text"}, Stopped, "check WPPCONNECT_URL"),
    (400, "Error sending message", Rejected, "no recipient"),
    (*wppconnect({}), Unconfirmed, "(Erro ao enviar a mensagem.)"),
    (*wppconnect({"level": "error"}), Unconfirmed, "does not tell"),
    (*wppconnect({"0": "w", "1": "a", "2": "p"}), Unconfirmed, "does not tell"),
    (*wppconnect("Server5xxDrop"), Unconfirmed, "Server5xxDrop"),
    (*wppconnect({"code": "empty_file"}), Rejected, "cannot fetch the attachment"),
    (*wppconnect(NO_FILE), Rejected, "cannot fetch"),
    (*wppconnect({"code": "invalid_image"}), Rejected, "check its size and type"),
    (*wppconnect(TOO_LARGE), Rejected, "check its size"),
    (*wppconnect(NO_CHAT), Rejected, "does not find this number"),
    (*wppconnect({"code": "can_not_send_message_to_this_groupType"}), Rejected, "no such message in this chat"),
    (*wppconnect({"message": "No LID for user"}), Rejected, "does not find this number"),
    (*wppconnect({"message": PAGE_CLOSED}), Stopped, "not connected"),
    (*wppconnect({"message": "Attempted to use detached Frame 'A1'."}), Stopped, "not connected"),
    (*wppconnect({"message": TARGET_CLOSED}), Unconfirmed, "does not tell"),
    (*wppconnect({"message": "Evaluation failed: error 463"}), Locked, "not written to it"),
    (*wppconnect({"code": "timeout_on_send_status", "message": "Timed out"}), Unconfirmed, "lost WhatsApp's answer"),
    (*result(-1, "ERROR_UNKNOWN"), Retry, "could not"),
    (*sent({"id": "x", "ack": -2}), Retry, "could not send it"),
    (*sent({"id": "x", "ack": -4}), Rejected, "check its size and type"),
    (*result(0, "ERROR_NETWORK"), Unconfirmed, "may still do so"),
    (*result(1, "OK"), Sent, ""),
    (*sent(False), Unconfirmed, "named no message"),
    (*sent(None), Unconfirmed, "named no message"),
]  # fmt: skip


def cloud(status: int, code: int, **more: Any) -> tuple[int, dict[str, Any]]:
    return status, {"error": graph(code, **more)}


CLOUD: list[Case] = [
    (*cloud(400, 100, error_subcode=33), Stopped, "check the connection's sender, WHATSAPP_PHONE_NUMBER_ID"),
    (*cloud(400, 100, error_subcode=2018001), Rejected, "refuses the request"),
    (*cloud(400, 33), Stopped, "does not know this phone number id"),
    (*cloud(404, 803), Stopped, "does not know this phone number id"),
    (*cloud(400, 2635), Stopped, "WHATSAPP_API_BASE"),
    (*cloud(400, 2500), Stopped, "WHATSAPP_API_BASE"),
    (*cloud(400, 131037), Stopped, "display name"),
    (*cloud(400, 613), Throttled, "faster than WhatsApp allows"),
    (*cloud(400, 341), Throttled, "faster than WhatsApp allows"),
    (*cloud(400, 80008), Throttled, "faster than WhatsApp allows"),
    (400, {"error": {"code": "190", "message": "Expired"}}, Stopped, "check the access token"),
    (400, {"error": {"code": 100, "error_subcode": "33", "message": "x"}}, Stopped, "WHATSAPP_PHONE_NUMBER_ID"),
    (*cloud(500, 131000), Retry, "passing fault"),
    (*cloud(400, 131049), Retry, "holds marketing back"),
    (*cloud(403, 131031), Stopped, "restricted this business account"),
    (200, {"error": graph(131047)}, Rejected, "only a template may be sent"),
    (200, {"error": graph(424242)}, Rejected, "refuses the request"),
    (200, {"messages": [{"id": "wamid.1"}], "error": graph(131000)}, Sent, ""),
    (200, {"messages": [{"id": "wamid.1", "message_status": "held_for_quality_assessment"}]}, Sent, ""),
]

ANSWERS = {"evolution": EVOLUTION, "waha": WAHA, "wppconnect": WPPCONNECT, "cloud": CLOUD}
