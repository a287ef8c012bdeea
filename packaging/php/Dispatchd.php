<?php

/*
 * The PHP client of dispatchd, in one file, for any program or web interface:
 *
 *     require_once 'Dispatchd.php';
 *     $daemon = new Dispatchd\Client();
 *     $job = $daemon->notify('FirewallApplyDispatcher');        // durable when it returns
 *     $job = $daemon->wait($job['id'], 30);                     // or null when 30 s were not enough
 *     $data = $daemon->cache('AvailablePackageCache', 3600);    // at most an hour old
 *
 * Jobs are arrays, as the API gives them: id, dispatcher, state, error, result
 * and more. What goes wrong is a Dispatchd\Problem, with a kind for programs, the
 * HTTP status, and retryAfter() where it pays to ask again:
 *
 *     try {
 *         $daemon->notify('certificate', ['id' => 3]);
 *     } catch (Dispatchd\Problem $p) {
 *         if ($p->kind === 'queue_full') { header('Retry-After: ' . $p->retryAfter()); }
 *     }
 *
 * Every call ends within the time that it was given. Where nothing answers by then
 * the kind is no_answer, and of a notify it is not known whether it was accepted
 * (isUnknown()): ask again with the same name and arguments, or with key(), and it
 * is the same job.
 *
 * It talks HTTP over the daemon's Unix socket: by the curl extension where that
 * is loaded, else by a stream. PHP 8.0 or later, no extension is needed.
 */

declare(strict_types=1);

namespace Dispatchd;

/** What the daemon, or the way to it, says no to. */
final class Problem extends \RuntimeException {
    /**
     * @var string what went wrong, for programs: queue_full, package_missing, ...; unavailable
     *             without a daemon, no_answer where one gave none in time, forbidden where
     *             a stranger has the socket
     */
    public string $kind;
    /** @var array everything that the answer said */
    public array $details;

    public function __construct(string $kind, string $message, int $status = 0, array $details = [], ?\Throwable $previous = null) {
        parent::__construct($message, $status, $previous);
        $this->kind = $kind;
        $this->details = $details;
    }

    /** The HTTP status; 0 where no answer came. */
    public function status(): int {
        return $this->getCode();
    }

    /** In how many seconds to ask again; 0 when nobody can tell. */
    public function retryAfter(): int {
        return (int) ($this->details['retry_after'] ?? 0);
    }

    /** Whether a notify may have been accepted: no answer came, but a daemon may have had it. */
    public function isUnknown(): bool {
        return $this->key() !== '';
    }

    /** The key under which such a notify, asked again, is the same job; else empty. */
    public function key(): string {
        return (string) ($this->details['idempotency_key'] ?? '');
    }

    /** What to do about it, for people; may be empty. */
    public function suggestion(): string {
        return (string) ($this->details['suggestion'] ?? '');
    }
}

/** One daemon. It keeps its connection where curl is there. */
final class Client {
    /** The version of the API that this client speaks. */
    public const API = '1';

    /** How long a wait without a time of its own goes on asking while a daemon is restarted. */
    private const PATIENCE = 15.0;

    /** How long one request of a longer wait lasts. */
    private const PIECE = 30;

    /** How long the key of a notify is kept of which nobody knows whether it was accepted. */
    private const KEPT = 300;

    private string $socket;
    private float $timeout;
    private bool $useCurl;
    private bool $reached = false;
    private bool $had = false;
    /** @var float when the present call is to be over */
    private float $until = INF;
    /** @var array<string, array{string, float}> keys of notifies of which nothing is known, and since when */
    private array $keys = [];
    /** @var \CurlHandle|null */
    private $curl = null;

    /**
     * @param string|null $socket the daemon's socket; by default $DISPATCHD_SOCKET, then the platform's
     * @param float $timeout how many seconds a call may take in all, beside what it is asked to wait
     * @param bool $curl whether the curl extension may be used
     */
    public function __construct(?string $socket = null, float $timeout = 10.0, bool $curl = true) {
        $run = PHP_OS_FAMILY === 'Linux' ? '/run' : '/var/run';
        $this->socket = $socket ?? (getenv('DISPATCHD_SOCKET') ?: "$run/dispatchd/control.sock");
        $this->timeout = $timeout;
        $this->useCurl = $curl && function_exists('curl_init') && defined('CURLOPT_UNIX_SOCKET_PATH');
    }

    /** Has calls from now on take so many seconds at most. */
    public function within(float $timeout): self {
        $this->timeout = $timeout;
        return $this;
    }

    /**
     * Asks for a run. When this returns, the job is safe on disk and will be run,
     * whatever happens to this process or to the daemon. Where the connection
     * breaks off it is asked again, as long as the time is not over; a key makes
     * sure that this is one job.
     *
     * @param mixed $arguments anything that JSON can hold; null for none
     * @param string $key asked twice with the same key, it is the same job; by default another
     *                    each time, but after a Problem that isUnknown() the same once more
     * @return array the job, with coalesced and position
     */
    public function notify(string $name, mixed $arguments = null, string $key = ''): array {
        $body = $arguments === null ? '' : self::encode(['arguments' => $arguments]);
        $what = "$name\n$body";
        if ($key === '') {
            [$kept, $since] = $this->keys[$what] ?? ['', 0.0];
            $key = microtime(true) - $since < self::KEPT ? $kept : '';
        }
        $key = $key === '' ? bin2hex(random_bytes(16)) : $key;
        $this->had = false;
        try {
            $job = $this->patiently($this->timeout, fn (): array => $this->ask('POST', '/v1/dispatchers/' . rawurlencode($name) . '/notify', $body, ["Idempotency-Key: $key"]));
        } catch (Problem $p) {
            if (!$this->had || !in_array($p->kind, ['unavailable', 'no_answer'], true)) {
                unset($this->keys[$what]);
                throw $p;
            }
            $this->keys[$what] = [$key, microtime(true)];
            $said = $p->getMessage() . '; it is not known whether the run was accepted';
            throw new Problem($p->kind, $said, 0, ['idempotency_key' => $key, 'suggestion' => "ask again with the key $key: it is the same job then"], $p);
        }
        unset($this->keys[$what]);
        return $job;
    }

    /**
     * Waits for a job's end, also over a restart of the daemon.
     *
     * @param float $seconds how long; 0 for as long as it takes
     * @return array|null the job, or null when it has not ended in time
     */
    public function wait(string $id, float $seconds = 0): ?array {
        $until = microtime(true) + $seconds;
        do {
            $left = $seconds > 0 ? max(0.001, $until - microtime(true)) : INF;
            $piece = min(self::PIECE, $left);
            $path = '/v1/jobs/' . rawurlencode($id) . '?wait=' . (int) ceil($piece * 1000) . 'ms';
            try {
                $job = $this->patiently(min($left, self::PIECE + $this->timeout), fn (): array => $this->ask('GET', $path, '', [], $piece), self::PATIENCE);
            } catch (Problem $p) {
                if ($p->kind === 'no_answer' && microtime(true) >= $until - 0.01 && $seconds > 0) {
                    return null;
                }
                throw $p;
            }
            if (self::ended($job)) {
                return $job;
            }
        } while ($seconds <= 0 || microtime(true) < $until);
        return null;
    }

    /** notify and wait in one. @return array|null as wait */
    public function run(string $name, mixed $arguments = null, float $seconds = 0, string $key = ''): ?array {
        return $this->wait($this->notify($name, $arguments, $key)['id'], $seconds);
    }

    /** One job, by its id or a unique start of it. */
    public function job(string $id): array {
        return $this->ask('GET', '/v1/jobs/' . rawurlencode($id));
    }

    /**
     * Jobs, newest first.
     *
     * @param array $filter dispatcher, state, since, limit, before
     */
    public function jobs(array $filter = []): array {
        return $this->ask('GET', '/v1/jobs' . ($filter === [] ? '' : '?' . http_build_query($filter, '', '&', PHP_QUERY_RFC3986)));
    }

    /** Ends a job, queued or running. @return array the job */
    public function cancel(string $id): array {
        return $this->ask('POST', '/v1/jobs/' . rawurlencode($id) . '/cancel');
    }

    /** One dispatcher with its definition, state and counters. */
    public function dispatcher(string $name): array {
        return $this->ask('GET', '/v1/dispatchers/' . rawurlencode($name));
    }

    /** All dispatchers. */
    public function dispatchers(): array {
        return $this->ask('GET', '/v1/dispatchers');
    }

    /**
     * The data of a cache.
     *
     * @param int|null $maxAge the oldest that will do, in seconds; null as the cache says itself
     * @param float $seconds how long to wait for a refresh that this causes
     * @return mixed the data, decoded; text as it is
     */
    public function cache(string $name, ?int $maxAge = null, float $seconds = 30): mixed {
        $query = $maxAge === null ? '' : "max_age={$maxAge}s&";
        $path = '/v1/caches/' . rawurlencode($name) . "?{$query}wait=" . (int) ceil($seconds * 1000) . 'ms';
        [$body, $header] = $this->answer('GET', $path, '', [], $seconds);
        return str_contains($header['content-type'] ?? '', 'json') ? self::decode($body) : $body;
    }

    /** Where the daemon is looked for. */
    public function socket(): string {
        return $this->socket;
    }

    /** Reports whether a daemon was ever there: if not, it has seen nothing of what was asked. */
    public function reached(): bool {
        return $this->reached;
    }

    /** Reports whether a job has reached its final state. */
    public static function ended(array $job): bool {
        return !in_array($job['state'] ?? '', ['queued', 'running'], true);
    }

    /** Makes a request and gives its answer, decoded. For calls that have no method here. */
    public function ask(string $method, string $path, string $body = '', array $header = [], float $waits = 0): array {
        $value = self::decode($this->answer($method, $path, $body, $header, $waits)[0]);
        if (!is_array($value)) {
            throw new Problem('internal', 'the daemon answered neither an object nor a list');
        }
        return $value;
    }

    /**
     * Repeats a request that is harmless to repeat while a daemon is on its way, within
     * so many seconds in all. One that got no answer in time is not repeated: there is
     * no time left for it.
     */
    private function patiently(float $seconds, callable $ask, float $patience = INF): array {
        $until = $this->until = microtime(true) + $seconds;
        $since = INF;
        try {
            for ($pause = 50_000; ; $pause = min(2 * $pause, 1_000_000)) {
                try {
                    return $ask();
                } catch (Problem $p) {
                    $now = microtime(true);
                    $since = min($since, $now);
                    // A daemon that was never there is no restart.
                    $passes = $p->kind === 'unavailable' && $this->reached || $p->kind === 'too_many_connections';
                    if (!$passes || $now + $pause / 1e6 > min($until, $since + $patience)) {
                        throw $p;
                    }
                }
                usleep($pause);
            }
        } finally {
            $this->until = INF;
        }
    }

    /** Makes a request. @return array{string, array} the body and the header of a good answer */
    private function answer(string $method, string $path, string $body, array $header, float $waits): array {
        $header[] = 'Content-Type: application/json';
        $until = min($this->until, microtime(true) + $this->timeout + $waits);
        $this->trust();
        [$status, $got, $text] = $this->useCurl
            ? $this->byCurl($method, $path, $body, $header, $until)
            : $this->byStream($method, $path, $body, $header, $until);
        $this->reached = true;
        if (!in_array(self::API, array_map('trim', explode(',', $got['dispatchd-api'] ?? '')), true)) {
            throw new Problem('version_mismatch', 'what answers on ' . $this->socket . ' does not speak version ' . self::API . ' of the API', $status);
        }
        if ($status >= 400) {
            $problem = json_decode($text, true);
            $problem = is_array($problem) ? $problem : [];
            throw new Problem((string) ($problem['kind'] ?? 'internal'), (string) ($problem['detail'] ?? "status $status"), $status, $problem);
        }
        return [$text, $got];
    }

    /**
     * Looks who has the socket: root, this user, or whom $DISPATCHD_SERVER_USER names.
     * Another one's would get all arguments: who comes first at boot can make a directory
     * below /var/run. PHP cannot ask the kernel who listens; but only its maker, or root,
     * owns a socket.
     */
    private function trust(): void {
        clearstatcache(true, $this->socket);
        $socket = @stat($this->socket);
        $dir = @stat(dirname($this->socket));
        if ($socket === false || $dir === false) {
            return; // the connection says it
        }
        $trusted = [0, function_exists('posix_geteuid') ? posix_geteuid() : @fileowner('/proc/self'), self::serverUser()];
        foreach ([$this->socket => $socket, dirname($this->socket) => $dir] as $path => $is) {
            if (!in_array($is['uid'], $trusted, true)) {
                throw new Problem('forbidden', "$path belongs to user {$is['uid']}, who is neither root nor this user: nothing was sent there", 0, ['suggestion' => 'if that is right, name him by $DISPATCHD_SERVER_USER']);
            }
        }
        if (($dir['mode'] & 0022) !== 0 && ($dir['mode'] & 01000) === 0) {
            throw new Problem('forbidden', dirname($this->socket) . ': others can put a socket there: nothing was sent', 0, ['suggestion' => 'chmod go-w ' . dirname($this->socket)]);
        }
    }

    /** The user whose daemon is trusted besides, by name or number; null = none. */
    private static function serverUser(): ?int {
        $user = (string) getenv('DISPATCHD_SERVER_USER');
        if (preg_match('/^\d{1,10}$/D', $user)) {
            return (int) $user;
        }
        return $user !== '' && function_exists('posix_getpwnam') ? (posix_getpwnam($user) ?: ['uid' => null])['uid'] : null;
    }

    /** A request by the curl extension. @return array{int, array, string} */
    private function byCurl(string $method, string $path, string $body, array $header, float $until): array {
        $this->curl = $this->curl ?? curl_init();
        $got = [];
        curl_setopt_array($this->curl, [
            CURLOPT_UNIX_SOCKET_PATH => $this->socket, CURLOPT_URL => "http://dispatchd$path", CURLOPT_CUSTOMREQUEST => $method,
            // curl would ask for leave before it sends a larger body.
            CURLOPT_POSTFIELDS => $body, CURLOPT_HTTPHEADER => array_merge($header, ['Expect:']), CURLOPT_RETURNTRANSFER => true,
            // 0 would be no bound at all.
            CURLOPT_TIMEOUT_MS => max(1, (int) (($until - microtime(true)) * 1000)), CURLOPT_NOSIGNAL => true, CURLOPT_PROXY => '', CURLOPT_FOLLOWLOCATION => false,
            CURLOPT_HEADERFUNCTION => static function ($curl, string $line) use (&$got): int {
                self::addHeader($got, $line);
                return strlen($line);
            },
        ]);
        $text = curl_exec($this->curl);
        if (is_string($text)) {
            return [(int) curl_getinfo($this->curl, CURLINFO_RESPONSE_CODE), $got, $text];
        }
        $code = curl_errno($this->curl);
        if ($code === CURLE_COULDNT_CONNECT) {
            throw $this->unreachable(file_exists($this->socket) ? 'nobody takes connections there' : 'there is no such socket');
        }
        $this->reached = $this->had = true;
        throw $code === CURLE_OPERATION_TIMEDOUT ? $this->unanswered() : $this->unreachable('the connection broke before the answer came');
    }

    /** A request by a stream, with a connection of its own. @return array{int, array, string} */
    private function byStream(string $method, string $path, string $body, array $header, float $until): array {
        $stream = $this->connect($until);
        try {
            $header = array_merge(["$method $path HTTP/1.1", 'Host: dispatchd', 'Connection: close', 'Content-Length: ' . strlen($body)], $header);
            $this->send($stream, implode("\r\n", $header) . "\r\n\r\n" . $body, $until);
            $all = $this->receive($stream, $until);
        } finally {
            fclose($stream);
        }
        [$head, $text] = array_pad(explode("\r\n\r\n", $all, 2), 2, '');
        if (!preg_match('#^HTTP/1\.[01] (\d{3})#', $head, $found)) {
            throw $this->unreachable('the connection broke before the answer came');
        }
        $got = [];
        foreach (explode("\r\n", $head) as $line) {
            self::addHeader($got, $line);
        }
        if (strtolower($got['transfer-encoding'] ?? '') === 'chunked') {
            $text = $this->joined($text);
        } elseif (isset($got['content-length']) && strlen($text) !== (int) $got['content-length']) {
            throw $this->unreachable('the connection broke in the middle of the answer');
        }
        return [(int) $found[1], $got, $text];
    }

    /** Connects. A daemon that hangs has its queue of connections full after a while. @return resource */
    private function connect(float $until) {
        while (true) {
            $left = max(0.001, $until - microtime(true));
            $stream = @stream_socket_client("unix://{$this->socket}", $number, $reason, $left);
            if ($stream !== false) {
                $this->reached = $this->had = true;
                stream_set_blocking($stream, false);
                return $stream;
            }
            // EAGAIN, on Linux; EINPROGRESS is what PHP says when its time was over.
            if (!in_array($number, [11, 35, 36, 110, 115], true)) {
                throw $this->unreachable(lcfirst((string) $reason));
            }
            if ($until - microtime(true) < 0.02) {
                $this->reached = true;
                throw $this->unanswered();
            }
            usleep(20_000);
        }
    }

    /** Waits until a stream can be read, or written to. @param resource $stream */
    private function ready($stream, bool $write, float $until): void {
        do {
            $left = $until - microtime(true);
            if ($left <= 0) {
                throw $this->unanswered();
            }
            $reads = [$stream];
            $writes = $write ? [$stream] : [];
            $none = [];
            $seconds = (int) min($left, 3600);
        } while (!@stream_select($reads, $writes, $none, $seconds, $left < 3600 ? (int) (fmod($left, 1) * 1_000_000) : 0));
    }

    /** Writes a request, until an answer comes: that says why it is not read to its end. @param resource $stream */
    private function send($stream, string $text, float $until): void {
        for ($at = 0; $at < strlen($text); $at += (int) $n) {
            $n = @fwrite($stream, substr($text, $at, 65536));
            if ($n === false) {
                return;
            }
            if ($n === 0) {
                $reads = [$stream];
                $none = [];
                if (@stream_select($reads, $none, $none, 0, 0)) {
                    return;
                }
                $this->ready($stream, true, $until);
            }
        }
    }

    /** Reads until the daemon closes. @param resource $stream */
    private function receive($stream, float $until): string {
        $all = '';
        while (true) {
            $part = fread($stream, 65536);
            if (is_string($part) && $part !== '') {
                $all .= $part;
            } elseif (feof($stream)) {
                return $all;
            } else {
                $this->ready($stream, false, $until);
            }
        }
    }

    /** Puts the pieces of a chunked body together. */
    private function joined(string $text): string {
        $body = '';
        while (preg_match('/^([0-9a-fA-F]+)[^\r\n]*\r\n/', $text, $found)) {
            $size = (int) hexdec($found[1]);
            if ($size === 0) {
                return $body;
            }
            $body .= substr($text, strlen($found[0]), $size);
            $text = (string) substr($text, strlen($found[0]) + $size + 2);
        }
        throw $this->unreachable('the connection broke in the middle of the answer');
    }

    /** Takes a line of a header. */
    private static function addHeader(array &$header, string $line): void {
        if (str_contains($line, ':')) {
            [$name, $value] = explode(':', $line, 2);
            $header[strtolower(trim($name))] = trim($value);
        }
    }

    /** The problem of a daemon that cannot be asked. */
    private function unreachable(string $why): Problem {
        return new Problem('unavailable', "no daemon answers on {$this->socket}: $why");
    }

    /** The problem of a daemon that has the request and gives no answer. */
    private function unanswered(): Problem {
        return new Problem('no_answer', "nothing answered on {$this->socket} in time: the daemon hangs, or has too much to do");
    }

    private static function encode(mixed $value): string {
        try {
            return json_encode($value, JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE | JSON_PRESERVE_ZERO_FRACTION);
        } catch (\JsonException $e) {
            throw new Problem('arguments_invalid', 'the arguments are no JSON: ' . $e->getMessage(), 0, [], $e);
        }
    }

    private static function decode(string $text): mixed {
        try {
            return json_decode($text, true, 512, JSON_THROW_ON_ERROR);
        } catch (\JsonException $e) {
            throw new Problem('internal', 'the daemon answered no JSON: ' . $e->getMessage(), 0, [], $e);
        }
    }
}
