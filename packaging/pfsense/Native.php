<?php

/*
 * What the REST API package's Dispatcher does by the daemon when it is hooked
 * (hook.php): it asks for runs, says which are there, and ends them. Errors are
 * the package's own, so that users of its API see what they know.
 *
 * Where there is no daemon, or it does not know the class, the package goes on
 * as it always did.
 */

declare(strict_types=1);

namespace Dispatchd;

use RESTAPI\Responses\FailedDependencyError;
use RESTAPI\Responses\ServerError;
use RESTAPI\Responses\ServiceUnavailableError;

require_once __DIR__ . '/Dispatchd.php';

final class Native {
    /** How long a daemon that is being restarted is waited for, in seconds. */
    private const ABSENCE = 3.0;

    /** How long a job that is canceled may take to end before nobody waits any more. */
    private const GRACE = 5.0;

    private static ?Client $client = null;
    private static bool $absent = false;

    /**
     * spawn_process(): asks for a run; waits for its end where the caller is not
     * to go on without it.
     *
     * @return int|null what stands for the process; null to go on in the old way
     */
    public static function spawn(string $name, bool $async, array $arguments): ?int {
        try {
            $job = self::ask(static fn (Client $c): array => $c->notify($name, $arguments === [] ? null : $arguments));
            if ($job === null) {
                return null;
            }
            if ($async) {
                return self::number($job['id']);
            }
            $job = self::client()->wait($job['id']);
        } catch (Problem $p) {
            throw self::error($name, $p);
        }
        if ($job['state'] !== 'succeeded') {
            throw self::failure($name, $job);
        }
        return (int) getmypid();
    }

    /** get_running_processes(): what is queued or runs, a number each. */
    public static function running(string $name): array {
        return array_map(static fn (array $job): int => self::number($job['id']), self::outstanding($name));
    }

    /** kill_running_processes(): ends what is queued or runs, and sees it end. */
    public static function kill(string $name): void {
        // The last first: else the next one would start as each one ends.
        foreach (array_reverse(self::outstanding($name)) as $job) {
            try {
                self::client()->cancel($job['id']);
                self::client()->wait($job['id'], self::GRACE);
            } catch (Problem) {
                // It has ended by itself, or the next look will find it again.
            }
        }
    }

    /** The jobs of a dispatcher that have not ended, oldest first. */
    private static function outstanding(string $name): array {
        try {
            $ask = static fn (Client $c): array => array_merge(
                $c->jobs(['dispatcher' => $name, 'state' => 'queued', 'limit' => 1000]),
                $c->jobs(['dispatcher' => $name, 'state' => 'running', 'limit' => 1000]),
            );
            return array_reverse(self::ask($ask) ?? []);
        } catch (Problem) {
            return [];
        }
    }

    /**
     * A number for a job where the package wants a process id. It is above all
     * process ids of FreeBSD and Linux, so nobody is hit who is sent a signal
     * under it, and below 2^31, so that it stays what it is.
     */
    public static function number(string $id): int {
        return (1 << 30) | (crc32($id) & 0x3fffffff);
    }

    /** Asks the daemon; null where there is none, or none that knows the class. */
    private static function ask(callable $ask): ?array {
        $until = microtime(true) + self::ABSENCE;
        while (true) {
            try {
                return $ask(self::client());
            } catch (Problem $p) {
                if ($p->kind === 'dispatcher_unknown') {
                    return null;
                }
                // What may have been accepted must not be done once more.
                if ($p->kind !== 'unavailable' || self::client()->reached()) {
                    throw $p;
                }
                if (self::$absent || !is_dir(dirname(self::client()->socket())) || microtime(true) > $until) {
                    self::$absent = true; // waited for once is enough
                    return null;
                }
            }
            usleep(100_000);
        }
    }

    private static function client(): Client {
        return self::$client ??= new Client();
    }

    /** The package's own error for a refusal. */
    private static function error(string $name, Problem $p): \Throwable {
        $after = max(1, $p->retryAfter());
        return match ($p->kind) {
            'queue_full', 'draining', 'too_many_connections' => new ServiceUnavailableError(
                message: "Dispatcher `$name`: {$p->getMessage()}. Try again after `$after` seconds.",
                response_id: 'DISPATCHER_TOO_MANY_QUEUED_PROCESSES',
                retry_after: $after,
            ),
            'package_missing' => new FailedDependencyError(message: "Dispatcher `$name`: {$p->getMessage()}.", response_id: 'DISPATCHER_MISSING_REQUIRED_PACKAGE'),
            'include_missing' => new FailedDependencyError(message: "Dispatcher `$name`: {$p->getMessage()}.", response_id: 'DISPATCHER_WITH_FAILED_INCLUDE'),
            default => new ServerError(message: "Dispatcher `$name`: {$p->getMessage()}.", response_id: 'DISPATCHER_FAILED_TO_SPAWN_PROCESS'),
        };
    }

    /** What a run threw in its own process, thrown again where it was asked for. */
    private static function failure(string $name, array $job): \Throwable {
        $detail = $job['error']['detail'] ?? null;
        $class = is_array($detail) ? (string) ($detail['class'] ?? '') : '';
        if (($detail['response_id'] ?? '') !== '' && is_subclass_of($class, \Error::class)) {
            return new $class(message: (string) $detail['message'], response_id: (string) $detail['response_id']);
        }
        $why = $job['error']['message'] ?? $job['state'];
        return new ServerError(message: "Dispatcher `$name` {$job['state']}: $why", response_id: 'DISPATCHER_FAILED_TO_SPAWN_PROCESS');
    }
}
