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
 * It talks HTTP over the daemon's Unix socket: by the curl extension where that
 * is loaded, else by a stream. PHP 8.0 or later, no extension is needed.
 */

declare(strict_types=1);

namespace Dispatchd;

/** What the daemon, or the way to it, says no to. */
final class Problem extends \RuntimeException {
    /** @var string what went wrong, for programs: queue_full, package_missing, ...; unavailable without a daemon */
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

    /** What to do about it, for people; may be empty. */
    public function suggestion(): string {
        return (string) ($this->details['suggestion'] ?? '');
    }
}

/** One daemon. It keeps its connection where curl is there. */
final class Client {
    /** The version of the API that this client speaks. */
    public const API = '1';

    /** How long a request is repeated when the daemon is just being restarted. */
    private const PATIENCE = 15.0;

    /** How long one request of a longer wait lasts. */
    private const PIECE = 30;

    private string $socket;
    private float $timeout;
    private bool $useCurl;
    private bool $reached = false;
    /** @var \CurlHandle|null */
    private $curl = null;

    /**
     * @param string|null $socket the daemon's socket; by default $DISPATCHD_SOCKET, then the platform's
     * @param float $timeout how many seconds an answer may take that is not asked to wait
     * @param bool $curl whether the curl extension may be used
     */
    public function __construct(?string $socket = null, float $timeout = 10.0, bool $curl = true) {
        $run = PHP_OS_FAMILY === 'Linux' ? '/run' : '/var/run';
        $this->socket = $socket ?? (getenv('DISPATCHD_SOCKET') ?: "$run/dispatchd/control.sock");
        $this->timeout = $timeout;
        $this->useCurl = $curl && function_exists('curl_init') && defined('CURLOPT_UNIX_SOCKET_PATH');
    }

    /**
     * Asks for a run. When this returns, the job is safe on disk and will be run,
     * whatever happens to this process or to the daemon. Where the connection
     * breaks off it is asked again; a key makes sure that this is one job.
     *
     * @param mixed $arguments anything that JSON can hold; null for none
     * @param string $key asked twice with the same key, it is the same job; by default another each time
     * @return array the job, with coalesced and position
     */
    public function notify(string $name, mixed $arguments = null, string $key = ''): array {
        $body = $arguments === null ? '' : self::encode(['arguments' => $arguments]);
        $header = ['Idempotency-Key: ' . ($key === '' ? bin2hex(random_bytes(16)) : $key)];
        return $this->patiently(fn (): array => $this->ask('POST', '/v1/dispatchers/' . rawurlencode($name) . '/notify', $body, $header));
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
            $piece = $seconds > 0 ? min(self::PIECE, max(0.001, $until - microtime(true))) : self::PIECE;
            $path = '/v1/jobs/' . rawurlencode($id) . '?wait=' . (int) ceil($piece * 1000) . 'ms';
            $job = $this->patiently(fn (): array => $this->ask('GET', $path, '', [], $piece));
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

    /** Repeats a request that is harmless to repeat, while a daemon is on its way. */
    private function patiently(callable $ask): array {
        $until = microtime(true) + self::PATIENCE;
        for ($pause = 50_000; ; $pause = min(2 * $pause, 1_000_000)) {
            try {
                return $ask();
            } catch (Problem $p) {
                // A daemon that was never there is no restart.
                $passes = $p->kind === 'unavailable' && $this->reached || $p->kind === 'too_many_connections';
                if (!$passes || microtime(true) > $until) {
                    throw $p;
                }
            }
            usleep($pause);
        }
    }

    /** Makes a request. @return array{string, array} the body and the header of a good answer */
    private function answer(string $method, string $path, string $body, array $header, float $waits): array {
        $header[] = 'Content-Type: application/json';
        $limit = $this->timeout + $waits;
        [$status, $got, $text] = $this->useCurl
            ? $this->byCurl($method, $path, $body, $header, $limit)
            : $this->byStream($method, $path, $body, $header, $limit);
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

    /** A request by the curl extension. @return array{int, array, string} */
    private function byCurl(string $method, string $path, string $body, array $header, float $limit): array {
        $this->curl = $this->curl ?? curl_init();
        $got = [];
        curl_setopt_array($this->curl, [
            CURLOPT_UNIX_SOCKET_PATH => $this->socket, CURLOPT_URL => "http://dispatchd$path", CURLOPT_CUSTOMREQUEST => $method,
            // curl would ask for leave before it sends a larger body.
            CURLOPT_POSTFIELDS => $body, CURLOPT_HTTPHEADER => array_merge($header, ['Expect:']), CURLOPT_RETURNTRANSFER => true,
            CURLOPT_TIMEOUT_MS => (int) ($limit * 1000), CURLOPT_NOSIGNAL => true, CURLOPT_PROXY => '', CURLOPT_FOLLOWLOCATION => false,
            CURLOPT_HEADERFUNCTION => static function ($curl, string $line) use (&$got): int {
                self::addHeader($got, $line);
                return strlen($line);
            },
        ]);
        $text = curl_exec($this->curl);
        if (!is_string($text)) {
            $this->reached = $this->reached || curl_errno($this->curl) !== CURLE_COULDNT_CONNECT;
            throw $this->unreachable(curl_error($this->curl));
        }
        return [(int) curl_getinfo($this->curl, CURLINFO_RESPONSE_CODE), $got, $text];
    }

    /** A request by a stream, with a connection of its own. @return array{int, array, string} */
    private function byStream(string $method, string $path, string $body, array $header, float $limit): array {
        $until = microtime(true) + $limit;
        $stream = @stream_socket_client("unix://{$this->socket}", $number, $reason, $limit);
        if ($stream === false) {
            throw $this->unreachable((string) $reason);
        }
        $this->reached = true;
        try {
            $header = array_merge(["$method $path HTTP/1.1", 'Host: dispatchd', 'Connection: close', 'Content-Length: ' . strlen($body)], $header);
            $this->send($stream, implode("\r\n", $header) . "\r\n\r\n" . $body);
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

    /** Writes all of a request. @param resource $stream */
    private function send($stream, string $text): void {
        for ($at = 0; $at < strlen($text); $at += $n) {
            $n = @fwrite($stream, substr($text, $at, 65536));
            if ($n === false || $n === 0) {
                return; // an answer may say why it was not read to its end
            }
        }
    }

    /** Reads until the daemon closes. @param resource $stream */
    private function receive($stream, float $until): string {
        $all = '';
        while (!feof($stream)) {
            $left = $until - microtime(true);
            stream_set_timeout($stream, max(0, (int) $left), (int) (fmod(max(0.0, $left), 1) * 1_000_000) + 1);
            $part = fread($stream, 65536);
            if ($part === false || $part === '' && stream_get_meta_data($stream)['timed_out']) {
                throw $this->unreachable('no answer in time');
            }
            $all .= $part;
        }
        return $all;
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
